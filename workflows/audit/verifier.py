"""Verify the history: walk every chain and report what deviates from the record.

Rows are streamed by ranges of runs, so that memory does not grow with the history. An
active run may change between two reads: a finding is reported only if it persists in one
snapshot of the run. Nothing is locked or written: a read-only replica can be verified.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast

from workflows.audit import chain_verification, keys, sealing_start, seals
from workflows.audit.chain_streams import (
    IN_ORDER,
    RunLink,
    audit_event_link,
    decision_link,
    links,
    stage_link,
)
from workflows.audit.chain_verification import ChainWalker, Finding, Link
from workflows.audit.file_verification import check_files
from workflows.audit.fork_verification import check_forks
from workflows.audit.row_adapters import as_bytes
from workflows.audit.seal_rows import WITHOUT_RUN
from workflows.audit.vote_verification import check_votes
from workflows.infra.database import snapshot
from workflows.models import (
    AuditEvent,
    Decision,
    HistoryHead,
    RemovedRun,
    Run,
    Stage,
    StageKind,
    Status,
    stored_stage,
)
from workflows.models.operations import stored_actions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

RUNS_AT_ONCE: Final = 200
CLOCKS_DIFFER: Final = dt.timedelta(hours=1)  # at most, between two machines
EARLIEST: Final = (
    sealing_start.UPGRADE + CLOCKS_DIFFER
)  # tolerance for a seal before sealing began
# actions that delete a run: without its history, or with it
REMOVED_WITHOUT: Final = stored_actions("delete", "purge history")
REMOVED_WITH: Final = stored_actions("purge run")
PURGED_DATA: Final = stored_actions("purge data")
FIRST: Final = UUID(int=0)
HEADS: Final = ("pk", "history_chain_head", "audit_chain_head")
LAST_MILLISECOND: Final = 253_402_300_799_999  # of the year 9999
UNSEALED: Final = "it has no seal: it was added, or its seal was removed"


@dataclass(slots=True)
class Tally:
    """Number of verified runs and rows."""

    runs: int = 0
    rows: int = 0
    unsealed: int = 0  # rows from before the history was sealed
    since: dt.datetime | None = None
    oldest: dt.datetime | None = None  # of the sealed rows


@dataclass(frozen=True, slots=True)
class Subject:
    """A run or deleted run, with what its row states about its history."""

    id: UUID
    history_chain_head: bytes | None = None
    audit_chain_head: bytes | None = None
    sequence: int = 0
    status: str = ""
    is_there: bool = False
    is_removed: bool = False
    keeps_history: bool = False
    attempt: int = 0
    current_stage: str | None = None  # JSON text

    @property
    def has_history(self) -> bool:
        """Return whether stages and decisions exist."""
        return self.is_there or self.keeps_history


@dataclass(slots=True)
class Checker:
    """Verifies the history; `tally` counts the verified rows."""

    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Load the time since which the history is sealed."""
        self.tally.since = sealing_start.known()

    def everything(self) -> Iterator[Finding]:
        """Yield the findings of all runs, and of audit events without a run."""
        after: UUID | None = FIRST
        while after is not None:
            after, among, subjects = _range(after)
            for run_id, found in self._runs(among, subjects):
                if found:
                    yield from Checker().chains_of(
                        run_id
                    )  # its rows were counted already
            yield from check_votes(subjects)
            yield from check_files(subjects)
            yield from check_forks(subjects)
        yield from self._check_events_without_run()
        yield from self.beginning()

    def run(self, run_id: UUID) -> list[Finding]:
        """Return the findings of one run, from one snapshot of its rows."""
        with snapshot():
            return [*self.chains_of(run_id), *check_forks([run_id])]

    def chains_of(self, run_id: UUID) -> list[Finding]:
        """Return the findings in the chains of one run, from one snapshot of its rows."""
        with snapshot():
            subjects = _subjects(Q(pk=run_id))
            among = Q(run_id=run_id)
            return [one for _, found in self._runs(among, subjects) for one in found]

    def _runs(
        self, among: Q, subjects: dict[UUID, Subject]
    ) -> Iterator[tuple[UUID, list[Finding]]]:
        """Yield each run that has a row or a history, with its findings."""
        remaining = set(subjects)
        for run_id, rows in groupby(links(among), key=lambda row: row.run_id):
            remaining.discard(run_id)
            subject = subjects.get(run_id, Subject(run_id))
            yield run_id, list(self._history(subject, rows))
        for run_id in sorted(remaining):
            yield run_id, list(self._history(subjects[run_id], ()))

    def _history(self, subject: Subject, rows: Iterable[RunLink]) -> Iterator[Finding]:
        """Verify both chains of a run; its steps come before its audit events."""
        self.tally.runs += 1
        steps = ChainWalker(
            subject.id, chain_verification.steps_of(subject.id), keys.verifying()
        )
        events = ChainWalker(
            subject.id, chain_verification.audit_chain_of(subject.id), keys.verifying()
        )
        pruned, is_known = False, False
        opened: list[Link] = []
        did: set[str] = set()
        for row in rows:
            link = row.link
            self.tally.rows += 1
            is_known = is_known or link.seal is not None or not self._is_old(link)
            did.add(link.action)
            pruned = pruned or link.is_pruned
            if not row.is_audit_event and not subject.has_history:
                yield _about(subject, link, "added: the run does not exist")
            elif link.seal is not None:
                yield from (events if row.is_audit_event else steps).step(link)
                self._remember(link)
            elif self._is_old(link):
                self.tally.unsealed += 1
            elif link.is_open:
                opened += [link] if link.branch is None else []
                yield from _open(subject, link, len(opened))
            else:
                yield _about(subject, link, UNSEALED)
        yield from _current(subject, opened)
        yield from self._ends(subject, steps, events)
        yield from _removal(subject, did, is_known)
        if pruned and did.isdisjoint(PURGED_DATA):
            what = "values of its decisions are gone, and no audit event records why"
            yield Finding(subject.id, "run", what)

    def _ends(
        self, subject: Subject, steps: ChainWalker, events: ChainWalker
    ) -> Iterator[Finding]:
        """Compare both chains with their heads."""
        is_new = self._is_new(subject.id)
        if subject.has_history:
            yield from steps.end(subject.history_chain_head, is_needed=is_new)
        if subject.is_there or subject.is_removed:
            yield from events.end(subject.audit_chain_head, is_needed=is_new)

    def _check_events_without_run(self) -> Iterator[Finding]:
        with snapshot():
            heads = HistoryHead.objects.filter(name=WITHOUT_RUN)
            head = heads.values_list("head", flat=True).first()
            walk = ChainWalker(
                None, chain_verification.audit_chain_of(None), keys.verifying()
            )
            rows = AuditEvent.objects.filter(run=None).order_by(*IN_ORDER)
            for link in map(audit_event_link, rows.iterator(chunk_size=2_000)):
                self.tally.rows += 1
                if link.seal is not None:
                    yield from walk.step(link)
                    self._remember(link)
                elif self._is_old(link):
                    self.tally.unsealed += 1
                else:
                    yield _about(Subject(FIRST), link, UNSEALED)
            yield from walk.end(as_bytes(head), is_needed=False)

    def beginning(self) -> Iterator[Finding]:
        """Report a start of sealing that is missing, forged or implausible."""
        since, oldest = self.tally.since, self.tally.oldest
        if since is None:
            yield Finding(
                None,
                "history",
                "the row that says since when it is sealed is missing, was changed, or"
                " its key is not among AUDIT_KEYS, SECRET_KEY and its fallbacks: rows"
                " without a seal may have been added since",
            )
        elif oldest is not None and oldest < since - EARLIEST:
            what = f"it is said to be sealed since {since}, and was so on {oldest}"
            yield Finding(None, "history", f"{what}: the row that says so was changed")

    def _is_old(self, link: Link) -> bool:
        """Return whether a row may be without a seal: it is from before there were any."""
        since = self.tally.since
        return since is None or link.created_at < since

    def _is_new(self, run_id: UUID) -> bool:
        """Return whether a run was launched when all was sealed, by the time in its id."""
        since = self.tally.since
        return since is not None and _made_at(run_id) >= since

    def _remember(self, link: Link) -> None:
        if self.tally.oldest is None or link.created_at < self.tally.oldest:
            self.tally.oldest = link.created_at


def has_key() -> bool:
    """Return whether a configured key fits a sample of the history.

    The sample are the start of sealing, and the oldest and newest sealed rows; an empty
    history needs no key.
    """
    if sealing_start.known() is not None:
        return True
    rows = [
        *_oldest_and_newest(Stage, stage_link),
        *_oldest_and_newest(Decision, decision_link),
        *_oldest_and_newest(AuditEvent, audit_event_link),
    ]
    if not rows:
        return not HistoryHead.objects.filter(name=sealing_start.NAME).exists()
    return any(chain_verification.fits(link, keys.verifying()) for link in rows)


def _oldest_and_newest(model: Any, as_link: Callable[[Any], Link]) -> Iterator[Link]:
    sealed = model.objects.exclude(seal=None)
    for row in (sealed.order_by("pk").first(), sealed.order_by("pk").last()):
        if row is not None:
            yield as_link(row)


def _range(after: UUID) -> tuple[UUID | None, Q, dict[UUID, Subject]]:
    """Return the end of the next range of runs, its condition, and its runs."""
    ends = []
    for model in (Run, RemovedRun):
        later = model.objects.filter(pk__gt=after).order_by("pk")
        ids = list(later.values_list("pk", flat=True)[:RUNS_AT_ONCE])
        if len(ids) == RUNS_AT_ONCE:
            ends.append(ids[-1])
    if not ends:  # the last range reaches to the end
        return None, Q(run_id__gt=after), _subjects(Q(pk__gt=after))
    until = min(ends)
    among = Q(run_id__gt=after, run_id__lte=until)
    return until, among, _subjects(Q(pk__gt=after, pk__lte=until))


def _subjects(condition: Q) -> dict[UUID, Subject]:
    """Return existing and deleted runs by id."""
    found = {}
    removed = RemovedRun.objects.filter(condition)
    for pk, history, events, keeps in removed.values_list(*HEADS, "keeps_history"):
        heads = as_bytes(history), as_bytes(events)
        found[pk] = Subject(pk, *heads, is_removed=True, keeps_history=keeps)
    there = Run.objects.filter(condition)
    current = Cast("current_stage", TextField())  # which may not be JSON any more
    rows = there.values_list(*HEADS, "sequence", "status", "attempt", current)
    for pk, history, events, sequence, status, attempt, stage in rows:
        found[pk] = Subject(
            pk, as_bytes(history), as_bytes(events), sequence, status,
            is_there=True, attempt=attempt, current_stage=stage,
        )  # fmt: skip
    return found


def _open(subject: Subject, link: Link, opened: int) -> Iterator[Finding]:
    """Report a stage that cannot be in progress."""
    if link.branch is None:
        is_next = subject.sequence + 1 in _numbers(
            link.sequence or 0, link.steps_before
        )
    else:
        is_after = (link.sequence or 0) > subject.sequence
        is_next = is_after and subject.status == Status.RUNNING
    if opened > 1 or not is_next or subject.status == Status.COMPLETED:
        yield _about(subject, link, "added or changed: this step cannot be in progress")


def _numbers(sequence: int, steps_before: int) -> tuple[int, int]:
    """Return the first numbers that a stage may follow: its own, or those of its branches."""
    return sequence, sequence - steps_before


def _follows(stage: Stage, sequence: int) -> bool:
    """Return whether a stage can be in progress after this step.

    The node at the end of a run comes after the step at which the run failed, if there is one:
    that step stays open, so that the run can be resumed.
    """
    is_passing = stage.kind == StageKind.ON_END and stage.sequence == sequence + 2
    numbers = _numbers(stage.sequence or 0, stage.items_total or 0)
    return is_passing or sequence + 1 in numbers


def _current(subject: Subject, opened: Sequence[Link]) -> Iterator[Finding]:
    """Report a stage in the run's row that cannot be in progress.

    The only other open one may be the pause that it continues.
    """
    if subject.current_stage is None:
        return
    run = Run(pk=subject.id, attempt=subject.attempt)
    try:
        run.current_stage = json.loads(subject.current_stage)
        stage = stored_stage(run)
    except (TypeError, ValueError, KeyError):
        what = "its stage in progress was changed: it cannot be read"
        yield Finding(subject.id, "run", what)
        return
    is_next = stage is not None and _follows(stage, subject.sequence)
    is_alone = all(link.attempt == subject.attempt for link in opened)
    if subject.status != Status.RUNNING or not is_next or not is_alone:
        what = "its stage in progress was added or changed: it cannot be in progress"
        yield Finding(subject.id, "run", what)


def _removal(subject: Subject, did: set[str], is_known: bool) -> Iterator[Finding]:
    """Report a deleted run without an audit event of the deletion."""
    with_history = subject.is_removed and subject.keeps_history
    if subject.is_there or did & (REMOVED_WITH if with_history else REMOVED_WITHOUT):
        return
    if subject.is_removed or is_known:
        yield Finding(
            subject.id, "run", "it is gone, and no audit event records by whom"
        )


def _about(subject: Subject, link: Link, what: str) -> Finding:
    run_id = None if subject.id == FIRST else subject.id
    return Finding(run_id, link.kind, what, link.id, link.sequence)


def _made_at(run_id: UUID) -> dt.datetime:
    """Return the time in a UUIDv7."""
    milliseconds = min(
        run_id.int >> 80, LAST_MILLISECOND
    )  # limits ids that are not UUIDv7
    return seals.EPOCH + dt.timedelta(milliseconds=milliseconds)
