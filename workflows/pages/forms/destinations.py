"""Form of webhook destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from workflows.deliveries.service import MAX_URL_LENGTH, Plan
from workflows.models import EventKind
from workflows.pages.catalog import title_of
from workflows.services.entry_rules import MAX_NAME_LENGTH
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.models import Destination


class DestinationForm(forms.Form):
    """A destination: where messages are sent, and which."""

    name = forms.CharField(max_length=MAX_NAME_LENGTH)
    url = forms.CharField(
        label="URL",
        max_length=MAX_URL_LENGTH,
        widget=forms.URLInput(attrs={"placeholder": "https://", "spellcheck": "false"}),
        help_text="With https://, messages are sent here as HTTP POST. Chats have an address"
        " of Apprise: slack://…, workflows://… (Teams), discord://…, jsons://… and others.",
    )
    events = forms.MultipleChoiceField(
        required=False,
        choices=[(kind.value, kind.label) for kind in EventKind],
        widget=forms.CheckboxSelectMultiple,
        help_text="None selected: all events, also later ones.",
    )
    workflows = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None selected: all workflows that you can view.",
    )

    def __init__(
        self, *args: Any, by: User, found: Destination | None = None, **options: Any
    ) -> None:
        """Offer the workflows of the person, and those that were selected before."""
        if found is not None:
            names = ("name", "url", "events", "workflows")
            options["initial"] = {name: getattr(found, name) for name in names}
        super().__init__(*args, **{"label_suffix": "", **options})
        offered = [one.name for one in system.list_workflows(by=by)]
        kept = found.workflows if found is not None else []
        fields: dict[str, Any] = dict(self.fields)
        fields["workflows"].choices = [
            (name, title_of(name)) for name in dict.fromkeys([*offered, *kept])
        ]

    def plan(self) -> Plan:
        """Return what a valid form says."""
        return Plan(**self.cleaned_data)
