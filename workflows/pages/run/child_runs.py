"""The child runs of a step that launches one for each element: progress, and a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Case, IntegerField, Value, When

from workflows.execution.child_group_rows import counts_of, group_at
from workflows.models import ChildGroup, ItemStatus, Status, WaitKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.access.permissions import WorkflowSet
    from workflows.engine.child_groups import Counts
    from workflows.models import ChildItem, Run

MAX_ITEMS: Final = 100  # in the table: those that are active or failed first
ORDER: Final = (  # of the table, by status of the run
    Status.FAILED,
    Status.CANCELLED,
    Status.RUNNING,
    Status.WAITING,
    Status.PENDING,
    Status.COMPLETED,
)
COLUMNS: Final = (
    *("id", "workflow_name", "title", "status", "params", "launched_by"),
    *("started_at", "completed_at"),
)


@dataclass(frozen=True, slots=True)
class ChildRunTable:
    """The child runs of the newest step that has several."""

    group: ChildGroup
    counts: Counts
    items: Sequence[ChildItem]

    @property
    def ended(self) -> int:
        """The number of runs that have ended."""
        return self.counts.completed + self.counts.failed

    @property
    def not_launched(self) -> int:
        """The number of elements without a run."""
        return self.group.total - self.ended - self.counts.active

    @property
    def hidden(self) -> int:
        """The number of runs that are not in the table."""
        return self.ended + self.counts.active - len(self.items)

    @property
    def goal(self) -> str:
        """What the step needs."""
        if self.group.need is None:
            return ""
        return f"{self.group.need:,} have to complete"


def child_run_table(run: Run, visible: WorkflowSet) -> ChildRunTable | None:
    """Return the newest child runs of a step with several, None if the viewer sees none."""
    group = ChildGroup.objects.filter(parent=run.pk).order_by("-sequence").first()
    if group is None or group.workflow_name not in visible:
        return None
    order = Case(
        *(When(child__status=status, then=Value(n)) for n, status in enumerate(ORDER)),
        output_field=IntegerField(),
    )
    launched = group.items.filter(status=ItemStatus.LAUNCHED, child__isnull=False)
    rows = launched.select_related("child").order_by(order, "position")
    only = rows.only("position", "status", *(f"child__{name}" for name in COLUMNS))
    return ChildRunTable(group, counts_of(group), list(only[:MAX_ITEMS]))


def progress_text(run: Run, visible: WorkflowSet) -> str:
    """Return how many of the child runs that a run waits for have ended; "" for no such run."""
    if run.waiting_for != WaitKind.SUBWORKFLOW:
        return ""
    group = group_at(run, run.sequence + 1)
    if group is None or group.workflow_name not in visible:
        return ""
    counts = counts_of(group)
    return f"{counts.completed + counts.failed:,} of {group.total:,} child runs have ended."
