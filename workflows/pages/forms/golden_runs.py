"""The form that marks a run golden: its dataset, and what of it matters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django import forms

from workflows.audit.audit_events import MAX_REASON_LENGTH
from workflows.models.golden_runs import DEFAULT_DATASET, MAX_DATASET_LENGTH
from workflows.registry import registry
from workflows.services.golden_fields import (
    MISSING,
    GoldenField,
    fields_of,
    is_number,
    value_at,
)
from workflows.services.golden_runs import Expectation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.models import GoldenRun, Run

MAX_VALUE_LENGTH: Final = 120  # characters of a value that are shown


class FieldRow(NamedTuple):
    """A field of the result, with the inputs that choose it."""

    name: str
    value: str  # as JSON, cut
    use: forms.BoundField
    tolerance: forms.BoundField | None  # of a number


class GoldenForm(forms.Form):
    """What of a run is expected of later ones."""

    dataset = forms.CharField(
        label="Dataset",
        max_length=MAX_DATASET_LENGTH,
        initial=DEFAULT_DATASET,
        help_text="Golden runs are checked together by dataset.",
    )
    checks_path = forms.BooleanField(
        label="The path: which nodes run in order, and which edges are taken",
        required=False,
        initial=True,
    )
    reason = forms.CharField(
        label="Reason",
        max_length=MAX_REASON_LENGTH,
        help_text="Saved in the audit log.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(
        self,
        run: Run,
        golden: GoldenRun | None,
        datasets: Sequence[str],
        data: Any = None,
    ) -> None:
        """Offer the fields of the result, and those that the golden run compares already."""
        chosen = {}
        initial: dict[str, Any] = {}
        if golden is not None:
            initial = {"dataset": golden.dataset, "checks_path": golden.checks_path}
            known = [GoldenField.of_json(one) for one in golden.fields]
            chosen = {one.name: one for one in known}
        super().__init__(data, initial=initial, label_suffix="", auto_id="golden-%s")
        asks = registry.asks_reason(run.workflow_name, "mark golden")
        self.fields["reason"].required = asks
        self.datasets = datasets
        self.fields["dataset"].widget.attrs["list"] = "golden-datasets"
        offered = dict(fields_of(run.result))
        for name in chosen:
            if (value := value_at(run.result, name)) is not MISSING:
                offered.setdefault(name, value)
        self._offered = list(offered.items())
        for index, (name, value) in enumerate(self._offered):
            self._add_field(index, value, chosen.get(name))

    def _add_field(self, index: int, value: object, chosen: GoldenField | None) -> None:
        self.fields[f"use-{index}"] = forms.BooleanField(
            required=False, initial=chosen is not None
        )
        if is_number(value):
            self.fields[f"tolerance-{index}"] = forms.FloatField(
                required=False,
                min_value=0,
                initial=None if chosen is None else chosen.tolerance,
                widget=forms.NumberInput(attrs={"step": "any", "placeholder": "exact"}),
            )

    @property
    def rows(self) -> list[FieldRow]:
        """The fields of the result with their inputs."""
        return [
            FieldRow(
                name,
                _text(value),
                self[f"use-{index}"],
                self[f"tolerance-{index}"]
                if f"tolerance-{index}" in self.fields
                else None,
            )
            for index, (name, value) in enumerate(self._offered)
        ]

    @property
    def expectation(self) -> Expectation:
        """What was entered."""
        entered = self.cleaned_data
        return Expectation(
            entered["dataset"],
            entered["checks_path"],
            [
                GoldenField(name, entered.get(f"tolerance-{index}"))
                for index, (name, _) in enumerate(self._offered)
                if entered[f"use-{index}"]
            ],
        )


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"
