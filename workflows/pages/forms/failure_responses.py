"""The form about a failed step: what happens next, and the state with which it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms

from workflows.engine import State
from workflows.engine.frozen import freeze
from workflows.pages.catalog import installed_workflow
from workflows.pages.forms.forks import StateText, state_form
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.render.text import readable_name
from workflows.services.edited_states import state_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.errors import InvalidParams
    from workflows.models import Approval

RETRY, EDIT, SKIP, ROUTE, GIVE_UP = "retry", "edit", "skip", "route", "give_up"
CHOICES: Final = {
    RETRY: "Retry with the same input",
    EDIT: "Edit the input, then retry",
    SKIP: "Skip the step: the state below is its output",
    ROUTE: "Continue at another step, with the state below",
    GIVE_UP: "Give up: the run fails",
}
USE_STATE: Final = frozenset({EDIT, SKIP, ROUTE})
NOT_USED: Final = (
    "The state was edited, and this choice does not use it: choose another one, or undo the"
    " edit."
)


class FailureResponseForm(forms.Form):
    """How a run continues after a failed step."""

    choice = forms.ChoiceField(label="What happens next", widget=forms.RadioSelect)
    route = forms.ChoiceField(label="Continue at", required=False)

    def __init__(self, approval: Approval, **options: Any) -> None:
        """Offer the choices of the approval; the state is that with which the step failed."""
        by = options.pop("by", None)
        super().__init__(
            label_suffix="",
            auto_id="response-%s",
            initial={"choice": EDIT},
            **options,
        )
        properties: Mapping[str, Any] = approval.form.get("properties") or {}
        targets = [one for one in properties.get("route", {}).get("enum", ()) if one]
        made: dict[str, Any] = self.fields
        made["choice"].choices = [
            (key, label) for key, label in CHOICES.items() if targets or key != ROUTE
        ]
        made["route"].choices = [
            ("", "–"),
            *((one, readable_name(one)) for one in targets),
        ]
        self.has_routes = bool(targets)
        self.failure: Mapping[str, Any] = approval.evidence.get("failure") or {}
        self.params = approval.run.params
        self.effects = _effects(approval)
        self.before = state_before(approval)
        workflow = installed_workflow(approval.run.workflow_name)
        kind: type[State] = getattr(workflow, "state_type", State)
        sent = {name: options[name] for name in ("data", "files") if name in options}
        self.state: SchemaForm | StateText = state_form(
            kind,
            self.before,
            by=by,
            without=(),
            **sent,
        )

    @property
    def is_about_failure(self) -> bool:
        """Return True, by which templates distinguish it from other forms of responses."""
        return True

    def clean(self) -> dict[str, Any]:
        """Add errors of the state, and of a choice that does not use an edited one."""
        choice = self.cleaned_data.get("choice")
        if not self.state.is_valid():
            self.add_error(None, "The state is not valid: fix it below.")
        elif choice not in USE_STATE and any(self._edits()):
            self.add_error("choice", NOT_USED)
        if choice == ROUTE and not self.cleaned_data.get("route"):
            self.add_error("route", "Choose the step at which the run continues.")
        return self.cleaned_data

    def values(self) -> dict[str, Any]:
        """Return the response as JSON."""
        choice = self.cleaned_data["choice"]
        found: dict[str, Any] = {"choice": RETRY if choice == EDIT else choice}
        if choice == ROUTE:
            found["route"] = self.cleaned_data["route"]
        changes, removed = self._edits()
        if changes:
            found["changes"] = changes
        if removed:
            found["removed"] = removed
        return found

    def add_validation_errors(self, error: InvalidParams) -> None:
        """Attach the errors of a refused response to its fields."""
        for name, messages in error.errors.items():
            for message in messages:
                self.add_error(name if name in self.fields else None, message)

    def _edits(self) -> tuple[dict[str, Any], list[str]]:
        """Return the fields with other values, and the keys that were removed."""
        given = self.state.values()
        changes = {
            name: value
            for name, value in given.items()
            if name not in self.before or freeze(value) != self.before[name]
        }
        is_whole = isinstance(self.state, StateText)
        removed = [name for name in self.before if is_whole and name not in given]
        return changes, removed


def _effects(approval: Approval) -> str:
    """Return what the author says about the effects of the failed step."""
    node = (approval.evidence.get("failure") or {}).get("node")
    nodes = approval.run.graph.get("nodes") or ()
    found = (one.get("effects", "") for one in nodes if one["name"] == node)
    return next(found, "")
