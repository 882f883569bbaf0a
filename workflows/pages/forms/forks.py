"""The forms of a fork: the state before its step, other params, another edge or response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django import forms
from pydantic import create_model

from workflows.engine.adapters import schema
from workflows.pages.forms.schema_form import SchemaForm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.engine import State
    from workflows.engine.graph_shape import EdgeShape

STATE, PARAMS, RESPONSE = "state", "params", "response"  # prefixes of the forms
MAX_KEY_LENGTH: Final = 64  # characters
MAX_REASON_LENGTH: Final = 2_000
INDENT: Final = 2


class StateText(forms.Form):
    """The state as JSON, for states without declared fields."""

    text = forms.CharField(
        label="State", widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false"})
    )

    def clean_text(self) -> dict[str, Any]:
        """Return the state."""
        try:
            value = json.loads(self.cleaned_data["text"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not valid JSON: {error}.") from error
        if not isinstance(value, dict):
            raise forms.ValidationError("Enter a JSON object.")
        return value

    def values(self) -> dict[str, Any]:
        """Return the entered state."""
        found: dict[str, Any] = self.cleaned_data["text"]
        return found


def state_form(
    kind: type[State],
    before: Mapping[str, Any],
    *,
    by: AbstractBaseUser | None,
    without: Collection[str] = ("params",),
    **options: Any,
) -> SchemaForm | StateText:
    """Return the form of a state: a field for each declared one, else one for JSON.

    `by` is the person whose documents it offers. `without` are fields that it leaves out; by
    default the params, which have a form of their own.
    """
    fields = {
        name: (info.annotation, info)
        for name, info in kind.fields().items()
        if name not in without and name in before
    }
    if not fields:
        text = json.dumps(before, indent=INDENT, ensure_ascii=False)
        return StateText(prefix=STATE, initial={"text": text}, **options)
    made: Any = create_model("State", **fields)  # type: ignore[call-overload]
    return SchemaForm(
        schema(made),
        by=by,
        has_entries=True,
        prefix=STATE,
        initial=dict(before),
        auto_id="state-%s",
        **options,
    )


class AnswersForm(forms.Form):
    """Whether agents are called again, or their recorded answers are used."""

    answers = forms.ChoiceField(
        label="Answers of agents", widget=forms.RadioSelect, initial="new"
    )

    def __init__(self, recorded: int, **options: Any) -> None:
        """Offer this number of recorded answers."""
        super().__init__(label_suffix="", **options)
        plural = "" if recorded == 1 else "s"
        self.fields["answers"].choices = [  # type: ignore[attr-defined]
            ("new", "Call the agents again"),
            ("recorded", f"Use {recorded:,} recorded answer{plural}"),
        ]

    def replays(self) -> bool:
        """Return whether recorded answers are used."""
        return bool(self.cleaned_data["answers"] == "recorded")


class EdgeForm(forms.Form):
    """The edge that is to be taken."""

    edge = forms.TypedChoiceField(
        label="Edge to take", coerce=int, widget=forms.RadioSelect
    )

    def __init__(self, edges: list[EdgeShape], **options: Any) -> None:
        """Offer these edges."""
        super().__init__(label_suffix="", **options)
        self.fields["edge"].choices = [  # type: ignore[attr-defined]
            (edge.index, edge.target.replace("_", " ")) for edge in edges
        ]
