"""The rows that a fork shares with its origin, as copies of its own.

Copies keep a fork complete when retention or a person deletes its origin. A fork is its origin
as that was when a step started: all rows of earlier attempts, and those of this attempt before
the step. So it reads like a run that was resumed there, and is executed like one.

Sealed rows are verified while they are copied, and sealed again in the chain of the fork; the
head of the chain of the origin after the last of them is returned. Rows are copied in batches.
Calls of agents, runs that were launched, notes and labels stay with the origin. So do files, as
long as it exists: then a fork gets those of the steps that it shares (`documents/run_files.py`).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import F, Q

from workflows.audit import chain_verification, keys, seals
from workflows.audit.chain_streams import decision_link, stage_link
from workflows.audit.chain_verification import ChainWalker
from workflows.audit.row_adapters import as_bytes, decision_row, stage_row
from workflows.errors import HistoryChanged
from workflows.models import (
    Approval,
    ApprovalVote,
    Attempt,
    Checkpoint,
    Decision,
    EventWait,
    ItemFailure,
    LogLine,
    Outcome,
    Retry,
    SharedChild,
    Stage,
    StageItem,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    from django.db.models import Model, QuerySet

    from workflows.models import Run

BATCH: Final = 500  # rows that are read and inserted at once


@dataclass(frozen=True, slots=True)
class SharedHistory:
    """The history up to the start of a step of a run."""

    origin: Run
    kept: int  # number of the last shared step
    attempt: int  # in which the next step started
    at: dt.datetime  # when it started

    @property
    def before(self) -> Q:
        """The condition on rows that have an attempt and a sequence."""
        return Q(attempt__lt=self.attempt) | Q(
            attempt=self.attempt, sequence__lte=self.kept
        )


def start_of(origin: Run, stage: Stage) -> SharedHistory:
    """Return the history before a stage started.

    A stage that paused has the attempt that continued it last; its history ends with the one in
    which it started.
    """
    kept = stage.sequence - 1
    before = Attempt.objects.filter(
        run=origin, number__lte=stage.attempt, started_at__lte=stage.created_at
    )
    last = before.order_by("-number").values_list("number", flat=True).first()
    return SharedHistory(
        origin,
        kept,
        max(last or stage.attempt, _attempt_of(origin, kept)),
        stage.created_at,
    )


def _attempt_of(origin: Run, sequence: int) -> int:
    """Return the attempt that completed a step."""
    rows = Checkpoint.objects.filter(run=origin, sequence=sequence)
    return rows.values_list("attempt", flat=True).first() or 1


def copy_rows(history: SharedHistory, fork: Run) -> tuple[bytes, bytes]:
    """Copy the shared rows; return the heads of both chains after them.

    The first head is that of the origin, the second one that of the fork. Raises HistoryChanged
    for a sealed row that is not what was recorded.
    """
    origin = history.origin
    heads = _copy_sealed(history, fork)
    _copy_attempts(history, fork)
    steps = Q(sequence__lte=history.kept)
    for model, condition in (
        (LogLine, history.before),
        (ItemFailure, history.before),
        (Retry, Q(sequence__lte=history.kept)),
        (Checkpoint, steps),
        (StageItem, steps),
    ):
        _copy_all(model._default_manager.filter(condition, run=origin), fork)  # noqa: SLF001 - Django's documented model API
    _copy_approvals(history, fork)
    waits = EventWait.objects.filter(steps, run=origin)
    _copy_all(waits, fork, address_id=None)
    _share_children(history, fork)
    return heads


def _copy_sealed(history: SharedHistory, fork: Run) -> tuple[bytes, bytes]:
    """Copy stages and decisions in the order of the chain."""
    origin, key = history.origin, keys.sealing()
    walker = ChainWalker(
        origin.pk, chain_verification.steps_of(origin.pk), keys.verifying()
    )
    head = as_bytes(fork.history_chain_head) or b""
    for batch in _batches(_in_chain_order(history)):
        rows = [*_read_in_order(batch)]
        for row in rows:
            link = stage_link(row) if isinstance(row, Stage) else decision_link(row)
            if link.seal is not None:
                for finding in walker.step(link):
                    raise HistoryChanged(origin, str(finding))
            row.inherited_from = row.inherited_from or origin.pk
            row.pk, row.run_id = None, fork.pk
            if link.seal is not None:  # else it is older than seals
                row.seal, head = seals.add(key, head, _fields(row))
        Stage.objects.bulk_create(row for row in rows if isinstance(row, Stage))
        Decision.objects.bulk_create(row for row in rows if isinstance(row, Decision))
    return walker.head, head


def _in_chain_order(history: SharedHistory) -> list[tuple[bool, bytes, bool, int]]:
    """Return the shared stages and decisions: unsealed ones first, then by position."""
    found = []
    for model in (Stage, Decision):
        rows = model._default_manager.filter(history.before, run=history.origin)  # noqa: SLF001 - Django's documented model API
        for pk, seal in rows.values_list("pk", "seal"):
            found.append((seal is not None, as_bytes(seal) or b"", model is Stage, pk))
    return sorted(found)


def _read_in_order(
    batch: Iterable[tuple[bool, bytes, bool, int]],
) -> Iterator[Stage | Decision]:
    places = list(batch)
    stages = Stage.objects.in_bulk([pk for *_, is_stage, pk in places if is_stage])
    decisions = Decision.objects.in_bulk(
        [pk for *_, is_stage, pk in places if not is_stage]
    )
    for *_, is_stage, pk in places:
        yield stages[pk] if is_stage else decisions[pk]


def _fields(row: Stage | Decision) -> list[Any]:
    if isinstance(row, Stage):
        return seals.stage_fields(row.run_id, row.attempt, stage_row(row))
    values = as_bytes(row.values_digest) or seals.payload_digest(row.values)
    return seals.decision_fields(
        row.run_id, row.workflow_name, row.attempt, decision_row(row), values
    )


def _copy_attempts(history: SharedHistory, fork: Run) -> None:
    """Copy the attempts; the last one ends where the shared history does."""
    rows = Attempt.objects.filter(run=history.origin, number__lte=history.attempt)
    for batch in _batches(rows.order_by("number").iterator(chunk_size=BATCH)):
        for row in batch:
            row.pk, row.run_id = None, fork.pk
            if row.number == history.attempt:
                row.ended_at = max(history.at, row.started_at)
                row.outcome = Outcome.FORKED
                row.error_message = row.error_code = row.traceback = ""
        Attempt.objects.bulk_create(batch)


def _copy_all(rows: QuerySet[Any], fork: Run, **changes: Any) -> None:
    """Copy the rows of a run that have no other rows below them."""
    model: type[Model] = rows.model
    after = 0
    while batch := list(rows.filter(pk__gt=after).order_by("pk")[:BATCH]):
        after = batch[-1].pk
        for row in batch:
            row.pk, row.run_id = None, fork.pk
            for name, value in changes.items():
                setattr(row, name, value)
        model._default_manager.bulk_create(batch)  # noqa: SLF001 - Django's documented model API


def copy_items(origin: Run, step: int, fork: Run, *, without: int) -> None:
    """Copy the results of the items of a step that runs again, except one: it runs again."""
    rows = StageItem.objects.filter(run=origin, sequence=step)
    _copy_all(rows.exclude(index=without), fork)


def _copy_approvals(history: SharedHistory, fork: Run) -> None:
    """Copy the closed approvals of the shared steps, with their votes."""
    origin = history.origin
    rows = Approval.objects.filter(run=origin, sequence__lte=history.kept)
    for old in rows.order_by("pk").iterator(chunk_size=BATCH):
        new = copy(old)
        new.pk, new.run_id = None, fork.pk
        new.inherited_from = old.inherited_from or origin.pk
        new.save(force_insert=True)
        votes = list(old.votes.order_by("pk"))
        for vote in votes:
            vote.pk, vote.approval = None, new
        ApprovalVote.objects.bulk_create(votes)


def _share_children(history: SharedHistory, fork: Run) -> None:
    """Link the child runs of the shared steps, which stay those of the origin."""
    origin = history.origin
    own = origin.children.filter(parent_sequence__lte=history.kept)
    shared = origin.shared_children.filter(sequence__lte=history.kept)
    for children in (
        own.order_by("pk").values_list("pk", "parent_sequence"),
        shared.order_by("pk").values_list("child_id", "sequence"),
    ):
        for batch in _batches(children.iterator(chunk_size=BATCH)):
            SharedChild.objects.bulk_create(
                SharedChild(run_id=fork.pk, child_id=child, sequence=sequence)
                for child, sequence in batch
            )


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the rows in lists of at most BATCH."""
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def own_attempts(rows: QuerySet[Attempt]) -> QuerySet[Attempt]:
    """Return attempts without those that a fork shares with its origin."""
    return rows.exclude(run__fork__attempt__gte=F("number"))
