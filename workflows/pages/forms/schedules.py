"""Forms of schedules: times and rules next to the workflow's own form, and backfills."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import available_timezones

from django import forms

from workflows.errors import InvalidSchedule
from workflows.infra import clock
from workflows.models import CatchUp, Overlap
from workflows.pages.forms.datetime_field import ZonedDateTimeField
from workflows.pages.forms.launch_form import (
    BY_WEIGHT,
    NAMED,
    OWN,
    PREFIX,
    AgentForm,
    agent_form,
)
from workflows.pages.render.zones import current_zone
from workflows.schedules import calendar
from workflows.schedules.service import MAX_JITTER, Plan
from workflows.services.entry_rules import MAX_NAME_LENGTH, MAX_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflows.models import Schedule, WebhookEndpoint
    from workflows.registry import AnyWorkflow

PREVIEWED: Final = 5  # times
ZONES: Final = "launch-zones"  # id of the list of time zones
MORE: Final = ("overlap", "catch_up", "jitter_seconds", "ends_at", "priority")


class ScheduleForm(forms.Form):
    """When a schedule launches its workflow, and how.

    Its names begin with `launch-`, which no field of a workflow's params does.
    """

    name = forms.CharField(label="Name", max_length=MAX_NAME_LENGTH)
    cron = forms.CharField(
        label="Times",
        max_length=calendar.MAX_EXPRESSION_LENGTH,
        help_text="Five fields: minute, hour, day of month, month, day of week. “0 9 * * 1-5”:"
        " 9:00 from Monday to Friday.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "class": "code"}),
    )
    zone = forms.CharField(
        label="Time zone",
        max_length=60,
        widget=forms.TextInput(attrs={"list": ZONES, "spellcheck": "false"}),
    )
    overlap = forms.ChoiceField(
        label="If the previous run has not finished", choices=Overlap.choices
    )
    catch_up = forms.ChoiceField(
        label="Missed times to launch",
        choices=CatchUp.choices,
        help_text="A time is missed if no worker was running for five minutes after it.",
    )
    jitter_seconds = forms.IntegerField(
        label="Random delay in seconds",
        min_value=0,
        max_value=MAX_JITTER,
        help_text="Each launch is delayed by up to this much, so that schedules don’t all"
        " start at once.",
    )
    ends_at = ZonedDateTimeField(
        label="End", required=False, help_text="No launch at or after this time."
    )
    priority = forms.IntegerField(
        label="Priority",
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        help_text="Pending runs with a higher priority start first.",
    )

    def __init__(self, **options: Any) -> None:
        """Show the defaults of a new schedule unless `initial` is given."""
        options["initial"] = options.get("initial") or initial_of(Plan("", "", ""))
        names = {"prefix": PREFIX, "label_suffix": "", "auto_id": "%s"}
        super().__init__(**{**names, **options})

    def clean_cron(self) -> str:
        """Return the expression with five fields. Raises ValidationError."""
        return _checked(calendar.normalised, self.cleaned_data["cron"], "cron")

    def clean_zone(self) -> str:
        """Return the name of the zone. Raises ValidationError."""
        return _checked(
            lambda name: calendar.zone_of(name).key, self.cleaned_data["zone"], "zone"
        )

    def plan(self, params: Mapping[str, Any], profile: str | None) -> Plan:
        """Return what a valid form and the params describe."""
        values = dict(self.cleaned_data)
        ends = values.pop("ends_at")
        return Plan(
            **values,
            params=params,
            profile=profile,
            ends_at=dt.datetime.fromisoformat(ends) if ends else None,
        )

    @property
    def more(self) -> list[forms.BoundField]:
        """Return the fields under “More options”."""
        return [self[name] for name in MORE]

    @property
    def is_more_open(self) -> bool:
        """Return whether one of these differs from its default, or has an error."""
        default = initial_of(Plan("", "", ""))
        return any(
            name in self.errors or str(self[name].value()) != str(default[name])
            for name in MORE
            if name != "ends_at"
        ) or bool(self.errors.get("ends_at") or self.initial.get("ends_at"))

    @property
    def preview(self) -> Preview:
        """Return the times of what the form shows."""
        cron, zone = (str(self[name].value() or "") for name in ("cron", "zone"))
        return preview_of(cron, zone)


def initial_of(plan: Plan | Schedule) -> dict[str, Any]:
    """Return what the form shows of a schedule."""
    names = ("name", "cron", *MORE)
    return {
        **{name: getattr(plan, name) for name in names},
        "zone": plan.zone or current_zone(),
    }


def profile_form(
    workflow: AnyWorkflow, stored: Schedule | WebhookEndpoint | None, **options: Any
) -> AgentForm | None:
    """Return the choice of a profile; None for a workflow without profiles.

    Schedules and webhooks have no API key: keys are stored until the end of one run.
    """
    if stored is not None:
        options["initial"] = {"profile": _choice(stored.profile)}
    form = agent_form(workflow, **options)
    if form is None or not form.is_shown:
        return None
    del form.fields["token"]
    return form


def profile_of(form: AgentForm | None) -> str | None:
    """Return the chosen profile; None, by weight, without a choice."""
    return form.launch_options()["profile"] if form is not None else None


def _choice(profile: str | None) -> str:
    if profile is None:
        return BY_WEIGHT
    return NAMED + profile if profile else OWN


def _checked(check: Callable[[str], str], text: str, name: str) -> str:
    try:
        return check(text)
    except InvalidSchedule as error:
        raise forms.ValidationError(list(error.errors[name])) from error


# Preview --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """An expression in words with its next times, or why it is invalid."""

    description: str = ""
    zone: str = ""
    times: tuple[dt.datetime, ...] = ()  # in the zone of the schedule
    error: str = ""


def preview_of(cron: str, zone: str) -> Preview:
    """Return the next times of an expression; an empty preview of an empty one."""
    if not cron.strip():
        return Preview()
    if len(cron) > calendar.MAX_EXPRESSION_LENGTH:
        return Preview(error=calendar.HINT)
    try:
        expression = calendar.normalised(cron)
        tzinfo = calendar.zone_of(zone)
    except InvalidSchedule as error:
        texts = [text for several in error.errors.values() for text in several]
        return Preview(error=" ".join(texts))
    times = calendar.next_times(expression, zone, clock.now(), PREVIEWED)
    return Preview(
        description=calendar.describe(expression),
        zone=tzinfo.key,
        times=tuple(time.astimezone(tzinfo) for time in times),
    )


def zone_names() -> list[str]:
    """Return the names of time zones that are offered: of places, and UTC."""
    return sorted(
        name
        for name in available_timezones()
        if name == "UTC" or ("/" in name and not name.startswith(("Etc/", "SystemV/")))
    )


# Backfill -------------------------------------------------------------------------------


class BackfillForm(forms.Form):
    """The period of a backfill."""

    first = ZonedDateTimeField(label="From")
    last = ZonedDateTimeField(label="To (inclusive)")

    def __init__(self, data: Mapping[str, Any] | None) -> None:
        """Show the last day unless a period is given."""
        now = clock.now().replace(second=0, microsecond=0)
        initial = {"first": now - dt.timedelta(days=1), "last": now}
        super().__init__(data, initial=initial, label_suffix="")

    def period(self) -> tuple[dt.datetime, dt.datetime]:
        """Return the bounds of a valid form."""
        first, last = (self.cleaned_data[name] for name in ("first", "last"))
        return dt.datetime.fromisoformat(first), dt.datetime.fromisoformat(last)
