"""Runs that a run continues, that continue it, that it launched, and that launched it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflows.models import Fork, LinkKind, RunLink

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from workflows.access.permissions import WorkflowSet
    from workflows.models import Run

MAX_FORKS: Final = 100  # the newest runs that were forked from a run
MAX_LAUNCHED: Final = 500  # the newest runs that a run launched
HIDDEN: Final = ("params", "result", "graph")  # large columns of the related runs


@dataclass(frozen=True, slots=True)
class RelatedRuns:
    """Related runs that the viewer may see."""

    continues: Run | None = None
    continued_by: Run | None = None
    launched_by: Run | None = None
    launched: Sequence[Run] = ()  # the newest first
    fork: Fork | None = None  # how it was forked from another run
    forks: Sequence[Run] = ()  # forked from it, the newest first


def related_runs(
    run: Run, visible: WorkflowSet, *, has_forks: bool = True
) -> RelatedRuns:
    """Return the related runs of visible workflows, with up to four queries.

    `has_forks`: False if it is known that no run was forked from it.
    """
    to_origin = RunLink.objects.filter(run=run.pk).select_related("origin")
    above = {
        link.kind: link.origin
        for link in to_origin.defer(*(f"origin__{name}" for name in HIDDEN))
        if link.origin is not None and link.origin.workflow_name in visible
    }
    from_run = RunLink.objects.filter(origin=run.pk).select_related("run")
    rows = from_run.defer(*(f"run__{name}" for name in HIDDEN)).order_by("-run_id")
    below = [
        link for link in rows[: MAX_LAUNCHED + 1] if link.run.workflow_name in visible
    ]
    continued = [link.run for link in below if link.kind == LinkKind.CONTINUE]
    return RelatedRuns(
        continues=above.get(LinkKind.CONTINUE),
        continued_by=next(iter(continued), None),
        launched_by=above.get(LinkKind.LAUNCH),
        launched=[link.run for link in below if link.kind == LinkKind.LAUNCH],
        fork=getattr(run, "fork", None),
        forks=_forks_of(run) if has_forks else (),
    )


def _forks_of(run: Run) -> Sequence[Run]:
    """Return the newest runs that were forked from a run, or reran it: of its workflow."""
    rows = run.forks.select_related("fork").defer(*HIDDEN)
    return list(rows.order_by("-pk")[:MAX_FORKS])


@dataclass(frozen=True, slots=True)
class Continuation:
    """The runs before and after one that continues as a new run."""

    continues: UUID | None = None
    continued_by: UUID | None = None


def continuations(run_ids: Iterable[UUID]) -> Mapping[UUID, Continuation]:
    """Return the continuations of runs that have one, with two queries."""
    ids = list(run_ids)
    rows = RunLink.objects.filter(kind=LinkKind.CONTINUE)
    before = dict(rows.filter(run__in=ids).values_list("run_id", "origin_id"))
    after = dict(rows.filter(origin__in=ids).values_list("origin_id", "run_id"))
    return {
        run_id: Continuation(before.get(run_id), after.get(run_id))
        for run_id in {*before, *after}
    }
