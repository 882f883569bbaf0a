"""Letting go of what a rule lets go: payloads first, runs later, their history last.

Each batch is a transaction of its own, so that it may be interrupted at any moment and
goes on where it was. Rows that somebody else holds are passed over until the next time:
a worker or a person never waits for it longer than one batch takes. Each run has a deed
that says what went and why, sealed like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from workflows.audit import seals, trail
from workflows.infra import notifications
from workflows.models import (
    Approval,
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    RemovedRun,
    Run,
    Stage,
    StageItem,
)
from workflows.retention import rules
from workflows.services import deletion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.retention.rules import Rule

BATCH: Final = 50  # runs in one transaction
VALUES_AT_ONCE: Final = 500  # decisions whose values go in one statement


@dataclass(slots=True)
class Gone:
    """How much went."""

    payloads: int = 0  # of so many runs
    runs: int = 0
    histories: int = 0
    jobs: int = 0  # deeds on many runs

    @property
    def total(self) -> int:
        """Return of how many runs and jobs something went."""
        return self.payloads + self.runs + self.histories + self.jobs


def let_go(only: str = "", *, more: Callable[[], bool] = lambda: True) -> Gone:
    """Let go of all that is due, of one workflow or all; stop when `more` says no."""
    gone = Gone()
    for rule in rules.rules(only):
        gone.payloads += _all(more, rules.payloads_due(rule), rule, _payload)
        gone.runs += _all(more, rules.runs_due(rule), rule, _run)
        gone.histories += _all(more, rules.histories_due(rule), rule, _history)
    if not only:
        gone.jobs = _jobs(more)
    return gone


def _jobs(more: Callable[[], bool]) -> int:
    """Let go of jobs, each with what is told of its runs; what was done to them stays."""
    due, went = rules.jobs_due(), 0
    while (job := due.first()) and more():
        job.delete()
        went += 1
    return went


def _all(
    more: Callable[[], bool],
    due: QuerySet[Any],
    rule: Rule,
    let_go_of: Callable[[Sequence[Any], Rule], None],
) -> int:
    """Go through all that is due, batch by batch; return how many went."""
    went = 0
    while more():
        with transaction.atomic():
            batch = list(_locked(due)[:BATCH])
            let_go_of(batch, rule)
        went += len(batch)
        if len(batch) < BATCH:
            break
    return went


def _locked(due: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows that nobody else holds, held until the end of the transaction."""
    if connection.features.has_select_for_update_skip_locked:
        return due.select_for_update(skip_locked=True, of=("self",))
    return due  # the transaction has the whole file


def _payload(runs: Sequence[Run], rule: Rule) -> None:
    """Take away what runs were given, knew, wrote and gave; leave which way they went."""
    ids = [run.pk for run in runs]
    for model in (Checkpoint, StageItem, LogLine):
        model._default_manager.filter(run__in=ids).delete()  # noqa: SLF001 - Django's documented model API
    for values in _values(ids):
        Decision.objects.bulk_update(values, ["values", "values_digest"])
    Attempt.objects.filter(run__in=ids).exclude(traceback="").update(traceback="")
    Approval.objects.filter(run__in=ids).update(evidence={}, answer=None)
    Run.objects.filter(pk__in=ids).update(
        params={},
        result=None,
        payload_removed_at=timezone.now(),
        version=F("version") + 1,
    )
    for run in runs:
        trail.record(
            run, "remove payload", by=None, reason=rule.told(rule.payload_days)
        )
    notifications.changed_on_commit(*(run.pk for run in runs))


def _values(ids: Sequence[UUID]) -> Iterator[list[Decision]]:
    """Yield the decisions that read something, with its digest in its place."""
    rows = Decision.objects.filter(run__in=ids, values_digest=None).exclude(values={})
    some: list[Decision] = []
    for row in rows.only("values").iterator(chunk_size=VALUES_AT_ONCE):
        row.values_digest, row.values = seals.payload_digest(row.values), {}
        some.append(row)
        if len(some) == VALUES_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _run(runs: Sequence[Run], rule: Rule) -> None:
    """Remove runs; their stages and decisions stay, with what people did."""
    reason = rule.told(rule.run_days)
    for run in runs:
        deed = trail.record(run, "remove run", by=None, reason=reason)
        deletion.keep_record(
            run, by_name=deed.actor_name, reason=reason, keeps_history=True
        )
    notifications.changed_on_commit(*(run.pk for run in runs))
    Run.objects.filter(pk__in=[run.pk for run in runs]).delete()


def _history(removed: Sequence[RemovedRun], rule: Rule) -> None:
    """Remove stages and decisions of runs that are gone; what people did stays."""
    ids = [row.pk for row in removed]
    for model in (Decision, Stage):
        model._default_manager.filter(run_id__in=ids).delete()  # noqa: SLF001 - Django's documented model API
    RemovedRun.objects.filter(pk__in=ids).update(keeps_history=False)
    for row in removed:
        reason = rule.told(rule.decision_days)
        trail.record_removed(row, "remove history", by=None, reason=reason)
