"""The lineage of a run: the runs from which it was forked, and those forked from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflows.models import DecisionKind, Fork, ForkKind, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from workflows.pages.run.rows_at_step import PointInTime

MAX_ABOVE: Final = 20  # runs above a run that are shown
DONE: Final = {
    ForkKind.RERUN: "reran step {}",
    ForkKind.OVERRIDE: "took another edge after step {}",
    ForkKind.RESPONSE: "changed the response of step {}",
}


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A run of the lineage, with how it was forked from the one above it."""

    run_id: UUID
    run: Run | None = None  # None: it was deleted
    fork: Fork | None = None

    @property
    def text(self) -> str:
        """Return what a person did to make it, such as `ada reran step 4`; "" for the first."""
        return text_of(self.fork)


def text_of(fork: Fork | None) -> str:
    """Return what a person did to make a fork."""
    if fork is None:
        return ""
    step = fork.kept if fork.kind == ForkKind.OVERRIDE else fork.step
    done = f"{fork.person_name} {DONE[ForkKind(fork.kind)].format(step)}"
    return f"{done}, with recorded answers" if fork.replays_answers else done


@dataclass(frozen=True, slots=True)
class Lineage:
    """The runs above a run, from the first one, and those forked from it, the newest first."""

    above: Sequence[Ancestor] = ()
    forks: Sequence[Run] = ()
    fork: Fork | None = None  # of the run itself

    @property
    def is_shown(self) -> bool:
        """Return whether there is any other run."""
        return bool(self.above or self.forks)

    @property
    def text(self) -> str:
        """Return what a person did to make the run."""
        return text_of(self.fork)

    @property
    def origin(self) -> UUID | None:
        """Return the id of the run from which it was forked, if that exists."""
        last = self.above[-1] if self.above else None
        return last.run_id if last and last.run else None

    @property
    def below(self) -> int:
        """Return the depth of its forks."""
        return len(self.above) + 1

    @property
    def made(self) -> Sequence[tuple[Run, str]]:
        """Return its forks, each with what a person did to make it."""
        return [(run, text_of(getattr(run, "fork", None))) for run in self.forks]


def lineage_of(run: Run, fork: Fork | None, forks: Sequence[Run]) -> Lineage:
    """Return the lineage of a run; two queries for each run above it."""
    above: list[Ancestor] = []
    parent = fork.origin_key if fork else run.forked_from_id
    while parent is not None and len(above) < MAX_ABOVE:
        rows = Run.objects.filter(pk=parent).select_related("fork")
        found = rows.defer("params", "result", "graph").first()
        made = getattr(found, "fork", None)
        above.insert(0, Ancestor(parent, found, made))
        if made is not None:
            parent = made.origin_key
        else:
            parent = found.forked_from_id if found is not None else None
    return Lineage(above, forks, fork)


def overruled(run: Run, moment: PointInTime) -> set[tuple[str, int]]:
    """Return the edges, by source and index, that were taken once and then overridden."""
    made = moment.rows(run.decisions.filter(kind=DecisionKind.OVERRIDE))
    found = set()
    for sequence, attempt in made.values_list("sequence", "attempt"):
        before = run.decisions.filter(
            sequence=sequence, attempt__lt=attempt, taken=True
        ).order_by("-attempt", "edge_index")
        edge = before.values_list("from_node", "edge_index").first()
        if edge is not None:
            found.add(edge)
    return found
