"""The recorded answers of agents that a fork and its child runs get in place of new ones.

A fork gets those of its origin. A child run of a fork gets those of the child run that did the
same for the origin: of the same workflow and element, at the same step. Where the origin has none
there, since the fork took another path, those of a step at which the fork has none are used, in
their order and each once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from workflows.agents.recordings import Recordings
from workflows.execution.run_tree import children_of
from workflows.models import CallContent, CallStatus, Fork, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

    from workflows.execution.masking import Masker


def recordings_for(run: Run, masker: Masker) -> Recordings | None:
    """Return the answers that a run replays, None if it replays none."""
    line = [run]  # from the run to its parents
    while (fork := _fork_of(line[-1])) is None:
        parent = line[-1].parent_id
        if parent is None or len(line) > settings.MAX_SUBWORKFLOW_DEPTH:
            return None
        line.append(_read(parent))
    if not fork.replays_answers:
        return None
    origins, shift = [fork.origin_key], int(fork.is_edited)
    for child in reversed(line[:-1]):
        origins, shift = _same_children(origins, child, shift), 0
    return Recordings.of_runs(origins, masker, shift=shift)


def count_in_children(origin: Run, kept: int) -> int:
    """Return how many answers are recorded in child runs of the steps after a shared one."""
    level = list(children_of([origin.pk], after=kept).values_list("pk", flat=True))
    count = 0
    for _ in range(settings.MAX_SUBWORKFLOW_DEPTH):
        if not level:
            break
        stored = CallContent.objects.filter(run__in=level, digest__isnull=False)
        count += stored.filter(call__status=CallStatus.COMPLETED).count()
        level = list(children_of(level).values_list("pk", flat=True))
    return count


def _fork_of(run: Run) -> Fork | None:
    # without an origin no answer is left
    if run.forked_from_id is None:
        return None
    return Fork.objects.filter(run=run.pk).first()


def _read(run_id: UUID) -> Run:
    fields = "parent_id", "parent_sequence", "forked_from_id", "workflow_name"
    return Run.objects.only(*fields).get(pk=run_id)


def _same_children(parents: Sequence[UUID], child: Run, shift: int) -> list[UUID]:
    """Return the child runs that did for these runs what a child run does for another one."""
    if child.parent_sequence is None:
        return []
    positions = Run.objects.filter(pk=child.pk).values_list("child_item__position")
    ((position,),) = positions
    theirs = _of_element(children_of(parents), child.workflow_name, position)
    recorded = defaultdict[int, list[UUID]](list)
    for pk, step in theirs.values_list("pk", "parent_sequence"):
        recorded[step or 0].append(pk)  # a shared step has its number in the origin
    rows = Run.objects.filter(parent=child.parent_id)
    own = _of_element(rows, child.workflow_name, position)
    steps = own.values_list("parent_sequence", flat=True)
    made = {(number or 0) - shift for number in steps}
    step = child.parent_sequence - shift
    if step in recorded:
        return recorded[step]
    # each of the other steps once, so that no answer is used by two child runs
    unmatched = sorted(made - recorded.keys()).index(step)
    unused = sorted(recorded.keys() - made)
    return recorded[unused[unmatched]] if unmatched < len(unused) else []


def _of_element(
    rows: QuerySet[Run], workflow: str, position: int | None
) -> QuerySet[Run]:
    rows = rows.filter(workflow_name=workflow, parent_sequence__isnull=False)
    of_element = (
        rows.filter(child_item=None)
        if position is None
        else rows.filter(child_item__position=position)
    )
    return of_element.order_by("pk")
