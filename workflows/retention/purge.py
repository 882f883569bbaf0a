"""Deletes what is due by rule: content of agent calls first, payloads, runs, history last.

Each batch is a separate transaction, so that a purge can be interrupted at any time and
continues later. Locked rows are skipped until the next purge: a worker or a person never
waits longer than one batch takes. Each run gets a sealed audit event with what was deleted
and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from workflows.audit import audit_events, seals
from workflows.documents.run_files import delete_files_of
from workflows.infra import notifications
from workflows.models import (
    Approval,
    ApprovalVote,
    Assessment,
    Attempt,
    CallContent,
    ChildItem,
    Decision,
    Fork,
    RemovedRun,
    Run,
    Stage,
)
from workflows.retention import rules
from workflows.retention.payload_tables import PAYLOAD_TABLES
from workflows.services import deletion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.retention.rules import Rule

BATCH_SIZE: Final = 50  # runs in one transaction
DELIVERIES_BATCH_SIZE: Final = 500  # deliveries in one statement
MESSAGES_BATCH_SIZE: Final = 500  # messages of events in one statement
VALUES_BATCH_SIZE: Final = 500  # decisions whose values are deleted in one statement


@dataclass(slots=True)
class PurgeCounts:
    """The numbers of items that were deleted."""

    contents: int = 0  # runs whose calls of agents had content
    payloads: int = 0  # runs
    runs: int = 0
    histories: int = 0
    jobs: int = 0  # bulk operations
    deliveries: int = 0  # to incoming webhooks
    messages: int = 0  # of events

    @property
    def total(self) -> int:
        """The number of runs, jobs, deliveries and messages of which something was deleted."""
        rows = self.jobs + self.deliveries + self.messages
        return self.contents + self.payloads + self.runs + self.histories + rows


def purge_due(
    only: str = "", *, more: Callable[[], bool] = lambda: True
) -> PurgeCounts:
    """Delete all that is due, of one workflow or all, for as long as `more` returns True."""
    counts = PurgeCounts()
    for rule in rules.rules(only):
        if rule.content_days is not None:
            counts.contents += _in_batches(
                more, rules.contents_due(rule), rule, _delete_contents
            )
        counts.payloads += _in_batches(
            more, rules.payloads_due(rule), rule, _delete_payloads
        )
        counts.runs += _in_batches(more, rules.runs_due(rule), rule, _delete_runs)
        counts.histories += _in_batches(
            more, rules.histories_due(rule), rule, _delete_histories
        )
    if not only:
        counts.jobs = _delete_jobs(more)
        counts.deliveries = sum(
            _delete_rows(more, due, DELIVERIES_BATCH_SIZE)
            for due in rules.deliveries_due()
        )
        counts.messages = _delete_rows(more, rules.messages_due(), MESSAGES_BATCH_SIZE)
    return counts


def _delete_jobs(more: Callable[[], bool]) -> int:
    """Delete bulk jobs with their items; the audit events of their runs stay."""
    due, count = rules.jobs_due(), 0
    while (job := due.first()) and more():
        job.delete()
        count += 1
    return count


def _delete_rows(more: Callable[[], bool], due: QuerySet[Any], size: int) -> int:
    """Delete rows without a seal, in batches of that size; return their number."""
    count = 0
    while more():
        ids = list(due.values_list("pk", flat=True)[:size])
        due.model.objects.filter(pk__in=ids).delete()
        count += len(ids)
        if len(ids) < size:
            break
    return count


def _in_batches(
    more: Callable[[], bool],
    due: QuerySet[Any],
    rule: Rule,
    delete: Callable[[Sequence[Any], Rule], None],
) -> int:
    """Delete all that is due, batch by batch; return the number of rows."""
    count = 0
    while more():
        with transaction.atomic():
            batch = list(_locked(due)[:BATCH_SIZE])
            delete(batch, rule)
        count += len(batch)
        if len(batch) < BATCH_SIZE:
            break
    return count


def _locked(due: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows that are not locked, locked until the end of the transaction."""
    if connection.features.has_select_for_update_skip_locked:
        return due.select_for_update(skip_locked=True, of=("self",))
    return due  # the transaction has locked the whole file


def _delete_contents(runs: Sequence[Run], rule: Rule) -> None:
    """Delete what agents were sent and responded; tokens and cost of the calls stay."""
    ids = [run.pk for run in runs]
    CallContent.objects.filter(run__in=ids).delete()
    reason = rule.reason(rule.content_days)
    for run in runs:
        audit_events.record(run, "purge call content", by=None, reason=reason)
    Run.objects.filter(pk__in=ids).update(version=F("version") + 1)
    notifications.changed_on_commit(*ids)


def _delete_payloads(runs: Sequence[Run], rule: Rule) -> None:
    """Delete params, states, logs and results of runs; keep their stages and decisions."""
    ids = [run.pk for run in runs]
    for model in PAYLOAD_TABLES:
        model._default_manager.filter(run__in=ids).delete()  # noqa: SLF001 - Django's documented model API
    for values in _decisions_without_values(ids):
        Decision.objects.bulk_update(values, ["values", "values_digest"])
    Attempt.objects.filter(run__in=ids).exclude(traceback="").update(traceback="")
    Approval.objects.filter(run__in=ids).update(
        evidence={}, initial=None, response=None
    )
    ApprovalVote.objects.filter(approval__run__in=ids).update(response=None)
    deletion.delete_payloads_of_deliveries(ids)
    deletion.delete_payloads_of_messages(ids)
    delete_files_of(ids)
    ChildItem.objects.filter(group__parent__in=ids).update(params={})
    Fork.objects.filter(run__in=ids).update(change=None)
    Assessment.objects.filter(run__in=ids).update(note="")
    Run.objects.filter(pk__in=ids).update(
        title="",
        limit_key=None,
        params={},
        result=None,
        payload_removed_at=timezone.now(),
        version=F("version") + 1,
    )
    for run in runs:
        audit_events.record(
            run, "purge data", by=None, reason=rule.reason(rule.payload_days)
        )
    notifications.changed_on_commit(*(run.pk for run in runs))


def _decisions_without_values(ids: Sequence[UUID]) -> Iterator[list[Decision]]:
    """Yield decisions whose values are replaced by their digest, in batches."""
    rows = Decision.objects.filter(run__in=ids, values_digest=None).exclude(values={})
    some: list[Decision] = []
    for row in rows.only("values").iterator(chunk_size=VALUES_BATCH_SIZE):
        row.values_digest, row.values = seals.payload_digest(row.values), {}
        some.append(row)
        if len(some) == VALUES_BATCH_SIZE:
            yield some
            some = []
    if some:
        yield some


def _delete_runs(runs: Sequence[Run], rule: Rule) -> None:
    """Delete runs; their stages, decisions and audit events stay."""
    reason = rule.reason(rule.run_days)
    for run in runs:
        event = audit_events.record(run, "purge run", by=None, reason=reason)
        deletion.record_removed_run(
            run, by_name=event.actor_name, reason=reason, keeps_history=True
        )
    notifications.changed_on_commit(*(run.pk for run in runs))
    deletion.delete_payloads_of_deliveries([run.pk for run in runs])
    deletion.delete_payloads_of_messages([run.pk for run in runs])
    delete_files_of([run.pk for run in runs])
    Run.objects.filter(pk__in=[run.pk for run in runs]).delete()


def _delete_histories(removed: Sequence[RemovedRun], rule: Rule) -> None:
    """Delete stages and decisions of deleted runs; their audit events stay."""
    ids = [row.pk for row in removed]
    for model in (Decision, Stage):
        model._default_manager.filter(run_id__in=ids).delete()  # noqa: SLF001 - Django's documented model API
    RemovedRun.objects.filter(pk__in=ids).update(keeps_history=False)
    for row in removed:
        reason = rule.reason(rule.decision_days)
        audit_events.record_removed(row, "purge history", by=None, reason=reason)
