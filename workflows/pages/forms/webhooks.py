"""Forms of incoming webhooks: settings, the mapping to params, the filter, a preview."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib.auth.models import User
from django.db.models import Q

from workflows.access import permissions
from workflows.errors import InvalidPayload, InvalidWebhook
from workflows.models import Deduplication, VerificationStyle
from workflows.pages.forms import json_schema as schemas
from workflows.pages.forms.launch_form import PREFIX
from workflows.services.entry_rules import MAX_NAME_LENGTH, MAX_PRIORITY
from workflows.webhooks import mapping, service
from workflows.webhooks.mapping import BODY, CONSTANT, HEADER
from workflows.webhooks.service import Plan
from workflows.webhooks.signatures import MAX_SECRET_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.http import QueryDict

    from workflows.models import WebhookEndpoint
    from workflows.registry import AnyWorkflow

SOURCES: Final = (
    ("", "Default"),
    (BODY, "Payload"),
    (HEADER, "Header"),
    (CONSTANT, "Constant"),
)
CONDITIONS: Final = ((BODY, "Payload"), (HEADER, "Header"))
FREE_ROWS: Final = 4  # empty rows for a workflow without declared params
FILTER_ROWS: Final = 2  # empty rows
MAX_ROWS: Final = 100
MAX_TEXT: Final = 20_000  # characters of a constant
MAX_SAMPLE: Final = 100_000  # characters of a payload to preview
SECTIONS: Final = ("mapping", "filters")  # fields of the plan that are tables
PERSON: Final = "owner"


class WebhookForm(forms.Form):
    """How a webhook authenticates deliveries, and whom it acts as.

    Its names begin with `launch-`, like those of the launch form.
    """

    name = forms.CharField(label="Name", max_length=MAX_NAME_LENGTH)
    style = forms.ChoiceField(
        label="Signature",
        choices=VerificationStyle.choices,
        help_text="How the sender signs its requests.",
    )
    token_header = forms.CharField(
        label="Header of the token",
        max_length=60,
        required=False,
        help_text="Only for a shared token, such as X-Gitlab-Token.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "class": "code"}),
    )
    secret = forms.CharField(
        label="Secret",
        max_length=MAX_SECRET_LENGTH,
        required=False,
        help_text="Paste the secret if the sender issues it, as Stripe does.",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false"}
        ),
    )
    deduplication = forms.ChoiceField(
        label="Repeated deliveries have the same",
        choices=Deduplication.choices,
        help_text="A repeated delivery launches no second run.",
    )
    deduplication_field = forms.CharField(
        label="Header or field",
        max_length=mapping.MAX_PATH_LENGTH,
        required=False,
        help_text="Only if a header or a field identifies a delivery.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "class": "code"}),
    )
    owner = forms.ModelChoiceField(
        label="Acts as",
        queryset=User.objects.none(),
        empty_label=None,
        help_text="Launches the runs. Permissions are checked at each delivery.",
    )
    priority = forms.IntegerField(
        label="Priority",
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        help_text="Pending runs with a higher priority start first.",
    )

    def __init__(
        self, *, by: User, webhook: WebhookEndpoint | None, **sent: Any
    ) -> None:
        """Show a webhook, or the defaults of a new one."""
        initial = _initial(webhook, by)
        names = {"prefix": PREFIX, "label_suffix": "", "auto_id": "%s"}
        super().__init__(**{**names, "initial": initial, **sent})
        field: Any = self.fields[PERSON]
        field.queryset = accounts_for(by)
        if webhook is None:
            text = "Leave empty to generate one. " + str(
                self.fields["secret"].help_text
            )
        else:
            text = "Leave empty to keep the present secret."
        self.fields["secret"].help_text = text


def _initial(webhook: WebhookEndpoint | None, by: User) -> dict[str, Any]:
    if webhook is None:
        return {
            "style": VerificationStyle.STANDARD,
            "deduplication": Deduplication.DELIVERY,
            "priority": 0,
            PERSON: by.pk,
        }
    names = ("name", "style", "token_header", "deduplication", "deduplication_field")
    initial = {name: getattr(webhook, name) for name in (*names, "priority")}
    is_known = accounts_for(by).filter(pk=webhook.owner_id).exists()
    return {**initial, PERSON: webhook.owner_id if is_known else by.pk}


def accounts_for(by: User) -> Any:
    """Return the accounts that a person may choose: their own, and service accounts.

    The latter for people who manage accounts; saving checks their permissions.
    """
    mine = Q(pk=by.pk)
    if permissions.can_give_roles(by):
        mine |= Q(service_account__isnull=False, is_active=True)
    return User.objects.filter(mine).order_by("username")


# Tables ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MappingRow:
    """A row of the mapping as the form shows it."""

    number: int
    param: str  # path
    label: str
    source: str
    text: str
    is_required: bool = False
    is_free: bool = False  # the name can be entered

    @property
    def sources(self) -> Sequence[tuple[str, str]]:
        """Return the choices of a source."""
        return SOURCES


@dataclass(frozen=True, slots=True)
class FilterRow:
    """A condition as the form shows it."""

    number: int
    source: str
    text: str
    values: str  # separated by commas

    @property
    def sources(self) -> Sequence[tuple[str, str]]:
        """Return the choices of a source."""
        return CONDITIONS


class Tables:
    """The mapping and the filter: of a webhook, or as sent."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        webhook: WebhookEndpoint | None,
        data: QueryDict | None,
    ) -> None:
        """Read what was sent, else what is stored."""
        self._params = list(declared_params(schema))
        if data is not None:
            self._mapping = list(_sent_mapping(data))
            self._filters = list(_sent_filters(data))
        else:
            self._mapping = [
                (row["param"], row["source"], shown(row))
                for row in (webhook.mapping if webhook else ())
            ]
            self._filters = [
                (row["source"], row["value"], ", ".join(row["values"]))
                for row in (webhook.filters if webhook else ())
            ]

    @property
    def mapping(self) -> list[dict[str, Any]]:
        """Return the mapping of the plan."""
        return [
            {"param": param, "source": source, "value": _read(source, text)}
            for param, source, text in self._mapping
            if param.strip() and source
        ]

    @property
    def filters(self) -> list[dict[str, Any]]:
        """Return the filter of the plan."""
        return [
            {
                "source": source,
                "value": text,
                "values": [part.strip() for part in values.split(",") if part.strip()],
            }
            for source, text, values in self._filters
            if text.strip() or values.strip()
        ]

    @property
    def mapping_rows(self) -> list[MappingRow]:
        """Return a row for each declared param, and rows for other names."""
        known = {param: (source, text) for param, source, text in self._mapping}
        rows = [
            (path, title, *known.pop(path, ("", "")), is_required, False)
            for path, title, is_required in self._params
        ]
        rows += [
            (name, name, *rest, False, True) for name, rest in known.items() if name
        ]
        if not self._params:
            rows += [("", "", "", "", False, True)] * FREE_ROWS
        return [MappingRow(number, *row) for number, row in enumerate(rows)]

    @property
    def filter_rows(self) -> list[FilterRow]:
        """Return the conditions, and empty rows."""
        rows = [row for row in self._filters if row[1] or row[2]]
        rows += [(BODY, "", "")] * FILTER_ROWS
        return [FilterRow(number, *row) for number, row in enumerate(rows)]


def declared_params(
    schema: Mapping[str, Any], below: schemas.Property | None = None
) -> Iterator[tuple[str, str, bool]]:
    """Yield path, title and whether a value is required of each declared param."""
    part = below.schema if below else None
    for one in schemas.properties(schema, part, below.path if below else ""):
        if schemas.is_group(schema, one):
            yield from declared_params(schema, one)
        else:
            is_required = one.is_required and (below is None or below.is_required)
            title = f"{below.title}: {one.title}" if below else one.title
            yield _as_path(one.path), title, is_required


def _as_path(path: str) -> str:
    """Return the path of a field of a form as a path of the mapping."""
    names = [schemas.unescaped(part) for part in path.split(".")]
    if all(mapping.PART.fullmatch(name) for name in names):
        return ".".join(names)
    return "".join(f"[{json.dumps(name)}]" for name in names)


def shown(row: Mapping[str, Any]) -> str:
    """Return the text of a row; a constant that is not plain text as JSON."""
    value = row["value"]
    if row["source"] != CONSTANT:
        return str(value)
    is_plain = isinstance(value, str) and _read(CONSTANT, value) == value
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _read(source: str, text: str) -> Any:
    """Return what was entered: a constant is JSON, or else text."""
    if source != CONSTANT:
        return text.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _sent_mapping(data: QueryDict) -> Iterator[tuple[str, str, str]]:
    for number in range(MAX_ROWS):
        param = data.get(f"map-{number}-param")
        if param is None:
            return
        source = data.get(f"map-{number}-source", "")
        text = data.get(f"map-{number}-value", "")
        is_known = source in dict(SOURCES)
        yield param[:200], source if is_known else "", text[:MAX_TEXT]


def _sent_filters(data: QueryDict) -> Iterator[tuple[str, str, str]]:
    for number in range(MAX_ROWS):
        source = data.get(f"if-{number}-source")
        if source is None:
            return
        text = data.get(f"if-{number}-value", "")[: mapping.MAX_PATH_LENGTH]
        is_known = source in dict(CONDITIONS)
        values = data.get(f"if-{number}-values", "")[:MAX_TEXT]
        yield source if is_known else BODY, text.strip(), values


# Preview --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A preview as the page shows it."""

    found: service.Preview | None = None
    error: str = ""


def preview_of(
    workflow: AnyWorkflow, plan: Plan, sample: str, headers: Mapping[str, str], by: User
) -> Shown:
    """Return what a sample payload would launch."""
    try:
        found = service.preview(workflow.name, plan, sample, headers, by=by)
    except InvalidPayload as error:
        return Shown(error=str(error))
    except InvalidWebhook as error:
        texts = [text for several in error.errors.values() for text in several]
        return Shown(error=" ".join(texts))
    return Shown(found)


def headers_in(text: str) -> dict[str, str]:
    """Return the headers of a sample, one “Name: value” per line."""
    pairs = (line.partition(":") for line in text.splitlines()[:100])
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}
