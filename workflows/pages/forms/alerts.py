"""Form of alert rules. Shares are entered in percent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms

from workflows.alerts.evaluation import SHARES
from workflows.alerts.service import MAX_WINDOW, Plan
from workflows.models import AlertMetric
from workflows.services.entry_rules import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.models import AlertRule

PERCENT: Final = 100
SEPARATOR: Final = " → "


class AlertForm(forms.Form):
    """A limit for a value of a workflow."""

    name = forms.CharField(max_length=MAX_NAME_LENGTH)
    metric = forms.ChoiceField(
        label="Value",
        choices=[
            (AlertMetric.FAILED_SHARE, "Share of failed runs, in percent"),
            (AlertMetric.EDGE_SHARE, "Share of an edge, in percent"),
            (AlertMetric.COST, "Cost of agents"),
            (AlertMetric.PERSON_COST, "Cost of agents of one person: the highest"),
            (AlertMetric.PENDING_AGE, "Age of the oldest pending run, in minutes"),
        ],
    )
    edge = forms.ChoiceField(
        required=False, help_text="For the share of an edge: how often it is taken."
    )
    raise_above = forms.FloatField(  # the service checks the maximum
        min_value=0, help_text="In the unit of the value: percent, cost or minutes."
    )
    clear_at = forms.FloatField(
        label="Clear at or below",
        required=False,
        min_value=0,
        help_text="Lower than the limit, so that a value around it is reported once."
        " Empty: the limit.",
    )
    window_minutes = forms.IntegerField(
        label="Window (minutes)", initial=60, min_value=1, max_value=MAX_WINDOW
    )
    min_count = forms.IntegerField(
        label="Minimum number",
        initial=5,
        min_value=1,
        max_value=10**6,
        help_text="Of runs or evaluations in the window; a share of fewer raises nothing.",
    )

    def __init__(
        self,
        *args: Any,
        edges: Iterable[tuple[str, str]],
        found: AlertRule | None = None,
        **options: Any,
    ) -> None:
        """Offer the edges of the workflow."""
        if found is not None:
            options["initial"] = _initial(found)
        super().__init__(*args, **{"label_suffix": "", **options})
        named = [SEPARATOR.join(edge) for edge in edges]
        if found is not None and found.from_node:
            named.append(SEPARATOR.join((found.from_node, found.to_node)))
        fields: dict[str, Any] = dict(self.fields)
        fields["edge"].choices = [
            ("", "None"),
            *((one, one) for one in dict.fromkeys(named)),
        ]

    def plan(self) -> Plan:
        """Return what a valid form says."""
        values = self.cleaned_data
        scale = PERCENT if values["metric"] in SHARES else 1
        is_edge = values["metric"] == AlertMetric.EDGE_SHARE
        source, _, target = values["edge"].partition(SEPARATOR)
        clear_at = values["clear_at"]
        return Plan(
            name=values["name"],
            metric=values["metric"],
            raise_above=values["raise_above"] / scale,
            clear_at=None if clear_at is None else clear_at / scale,
            window_minutes=values["window_minutes"],
            min_count=values["min_count"],
            from_node=source if is_edge else "",
            to_node=target if is_edge else "",
        )


def _initial(found: AlertRule) -> dict[str, Any]:
    scale = PERCENT if found.metric in SHARES else 1
    edge = (found.from_node, found.to_node)
    return {
        "name": found.name,
        "metric": found.metric,
        "edge": SEPARATOR.join(edge) if found.from_node else "",
        "raise_above": round(found.raise_above * scale, 6),
        "clear_at": round(found.clear_at * scale, 6),
        "window_minutes": found.window_minutes,
        "min_count": found.min_count,
    }
