"""Launch options: priority and idempotency key; profile and API key with agents."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django import forms

from workflows.agents import keys, profiles
from workflows.agents.lookup import find_agent
from workflows.engine.adapters import schema
from workflows.execution.launching import MAX_DEADLINE
from workflows.models import Agent
from workflows.runtime.errors import ProviderError
from workflows.services.entry_rules import MAX_PRIORITY

if TYPE_CHECKING:
    from workflows.registry import AnyWorkflow

PREFIX = "launch"
BY_WEIGHT, OWN = "by weight", "own"
NAMED = "profile:"  # prefix of profile names, which might equal the values above
MAX_TOKEN_LENGTH = 8_000  # characters
MAX_KEY_LENGTH = 200  # characters


class MoreOptionsForm(forms.Form):
    """Options of every launch that few need."""

    priority = forms.IntegerField(
        label="Priority",
        required=False,
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        help_text="Pending runs with a higher priority start first. Default: 0.",
    )
    deadline = forms.IntegerField(
        label="Deadline in minutes",
        required=False,
        min_value=1,
        max_value=int(MAX_DEADLINE.total_seconds() // 60),
        help_text="The run fails after this time, also while it waits. Empty: as the "
        "workflow declares.",
    )
    key = forms.CharField(
        label="Idempotency key",
        required=False,
        max_length=MAX_KEY_LENGTH,
        strip=True,
        help_text="A key launches one run: the same launch with the same key opens that run.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, **options: Any) -> None:
        """Name the fields so that no param of a workflow collides with them."""
        names = {"prefix": PREFIX, "label_suffix": "", "auto_id": "%s"}
        super().__init__(**{**names, **options})

    @property
    def is_open(self) -> bool:
        """Return whether something was entered."""
        return any(self[name].value() not in (None, "") for name in self.fields)

    def launch_options(self) -> dict[str, Any]:
        """Return the keyword arguments for `System.execute`; no empty key."""
        key = self.cleaned_data["key"]
        options: dict[str, Any] = {"priority": self.cleaned_data["priority"] or 0}
        if minutes := self.cleaned_data["deadline"]:
            options["deadline"] = dt.timedelta(minutes=minutes)
        return options | ({"idempotency_key": key} if key else {})


class AgentForm(forms.Form):
    """The profile of a run, and an API key that replaces the stored ones."""

    profile = forms.ChoiceField(label="Profile", widget=forms.Select)
    token = forms.CharField(
        label="API key for this run",
        required=False,
        max_length=MAX_TOKEN_LENGTH,
        strip=True,
        help_text="Replaces the stored keys of providers. Encrypted; deleted when the run "
        "ends.",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false"}
        ),
    )

    def __init__(self, workflow: AnyWorkflow, **options: Any) -> None:
        """Offer the profiles of the workflow."""
        super().__init__(
            **{"prefix": PREFIX, "label_suffix": "", "auto_id": "%s", **options}
        )
        found = profiles.of_workflow(workflow)
        weighted = any(one.weight for one in found)
        choices = [(NAMED + one.name, one.name) for one in found]
        choices.insert(0, (OWN, "Default"))
        if weighted:
            choices.insert(0, (BY_WEIGHT, "Assigned by weight"))
        field = self.fields["profile"]
        field.choices = choices  # type: ignore[attr-defined]
        field.required = bool(found)
        if not found:
            field.widget = forms.HiddenInput()
        field.initial = choices[0][0]

    def clean_token(self) -> str:
        """Return the key. Raises ValidationError for one that cannot be sent."""
        token = str(self.cleaned_data["token"])
        if not keys.is_valid(token):
            raise forms.ValidationError(keys.INVALID_KEY)
        return token

    @property
    def is_shown(self) -> bool:
        """Return whether there is a profile to choose."""
        return not self["profile"].is_hidden

    def launch_options(self) -> dict[str, Any]:
        """Return the keyword arguments for `System.execute`."""
        chosen = self.cleaned_data.get("profile") or BY_WEIGHT
        named = (
            chosen.removeprefix(NAMED)
            if chosen.startswith(NAMED)
            else profiles.NO_PROFILE
        )
        profile = None if chosen == BY_WEIGHT else named
        return {"profile": profile, "token": self.cleaned_data.get("token", "")}


def initial_of(profile_name: str) -> dict[str, str]:
    """Return the initial choice for a rerun."""
    return {"profile": NAMED + profile_name if profile_name else OWN}


def agent_form(workflow: AnyWorkflow, **options: Any) -> AgentForm | None:
    """Return the form of a workflow that uses agents, None for any other."""
    return AgentForm(workflow, **options) if uses_agents(workflow) else None


def uses_agents(workflow: AnyWorkflow) -> bool:
    """Return whether a workflow uses agents, by its prompts or a parameter."""
    if workflow.prompts:
        return True
    kind = workflow.params_type
    described = schema(kind) if kind is not None else {}
    parts = described.get("properties", {}).values()
    return any(part.get("reference") == "agent" for part in parts)


def missing_agents() -> str:
    """Return why no workflow that uses agents can be launched, "" if some can."""
    usable = Agent.objects.filter(is_enabled=True, provider__is_enabled=True)
    if usable.exists():
        return ""
    try:
        find_agent("")
    except ProviderError as error:
        return str(error)
    return ""
