"""Brings messages of events and the runs that wait for them together.

A message and a wait may be committed at the same time by two processes that do not see each
other's row. So `deliver` is called after the commit of either: the last one to commit sees both. A
process that ends in between leaves it to the sweep.

    1. Lock the oldest kept message of the event; the second one finds it delivered.
    2. Lock the waiting runs, in the order that all code uses.
    3. Close their waits with the message, withdraw what else they wait for, queue the runs, mark
       the message, in one transaction.
    4. Without a waiting run the message is kept. Continue with the next message.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from workflows.audit import audit_events
from workflows.infra import notifications, process_metrics
from workflows.models import (
    Approval,
    EventMessage,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Run,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

MAX_EVENTS: Final = 500  # that one sweep delivers


@dataclass(frozen=True, slots=True)
class Event:
    """What a message and a wait have in common."""

    workflow: str
    name: str
    key: str

    @property
    def messages(self) -> QuerySet[EventMessage]:
        """The kept messages, the oldest first."""
        rows = EventMessage.objects.filter(
            workflow_name=self.workflow,
            name=self.name,
            key=self.key,
            delivered_at=None,
            created_at__gt=oldest_kept(),
        )
        return rows.order_by("pk")

    @property
    def waits(self) -> QuerySet[EventWait]:
        """The open waits, the oldest first."""
        rows = EventWait.objects.open().filter(
            workflow_name=self.workflow,
            name=self.name,
            key=self.key,
            kind=EventWaitKind.EVENT,
            run__status=Status.WAITING,
        )
        return rows.order_by("pk")


def oldest_kept() -> dt.datetime:
    """Return the time before which a message that no run waited for is not delivered."""
    return timezone.now() - dt.timedelta(days=settings.EVENT_KEEP_DAYS)


def deliver(event: Event) -> list[UUID]:
    """Deliver the kept messages of an event to the runs that wait; return these runs."""
    moved: list[UUID] = []
    while event.messages.exists() and event.waits.exists():
        with transaction.atomic():
            message = event.messages.select_for_update().first()
            if message is not None:
                moved += _deliver_to_all(message, event)
    return moved


def _deliver_to_all(message: EventMessage, event: Event) -> list[UUID]:
    """Move every run that waits for a locked message; return these runs."""
    waiting = list(event.waits.values_list("run_id", flat=True))
    runs = _locked(waiting)
    first: dict[UUID, EventWait] = {}  # of each run: its other waits stay open
    for wait in event.waits.filter(run__in=runs):
        first.setdefault(wait.run_id, wait)
    for wait in first.values():
        receive(wait, message)
    if first:
        EventMessage.objects.filter(pk=message.pk).update(delivered_at=timezone.now())
        move([run for run in runs if run.pk in first], message)
    if len(first) < len(set(waiting)):
        # another answer came first; a claim that found its run locked here has skipped it
        notifications.pending_on_commit()
    return list(first)


def receive(wait: EventWait, message: EventMessage) -> bool:
    """Close the wait of a locked run with a message, and withdraw the others; False if closed."""
    mine = EventWait.objects.filter(pk=wait.pk)
    if not mine.close(EventWaitStatus.RECEIVED, message=message):
        return False
    withdraw([wait.run_id], came_first(wait.node_name))
    return True


def _locked(run_ids: Collection[UUID]) -> list[Run]:
    """Return those of the runs that wait, locked in the order that all code uses."""
    rows = Run.objects.filter(pk__in=run_ids, status=Status.WAITING)
    return list(rows.select_for_update().order_by("pk"))


def move(runs: Sequence[Run], message: EventMessage) -> None:
    """Queue locked runs whose wait has received a message."""
    ids = [run.pk for run in runs]
    Run.objects.filter(pk__in=ids).wake()
    process_metrics.EVENT_MESSAGES.labels("received").inc(len(ids))
    audit_events.record_each(
        audit_events.entry(
            run,
            "receive event",
            by=message.sender,
            reason=described(message),
            after=Status.PENDING,
        )
        for run in runs
    )
    notifications.pending_on_commit()
    notifications.changed_on_commit(*ids)


def described(message: EventMessage) -> str:
    """Return what arrived: “payment”, key “42”, message 1a2b3c4d."""
    if not message.name:
        return f"Callback, message {message.short_id}"
    key = f", key “{message.key}”" if message.key else ""
    return f"“{message.name}”{key}, message {message.short_id}"


def came_first(node: str) -> str:
    """Return why the other waits of a run were withdrawn."""
    return f"“{node}” came first"


def withdraw(run_ids: Collection[UUID], reason: str) -> None:
    """Close what these runs wait for, in the transaction that moves them, with their rows locked.

    The reason is shown after "The approval was withdrawn: ".
    """
    Approval.objects.filter(run__in=run_ids).withdraw(reason)
    EventWait.objects.filter(run__in=run_ids).close(EventWaitStatus.WITHDRAWN)


def answered(approval: Approval) -> None:
    """Withdraw what a run waits for besides an approval that has a response, which came first."""
    mine = EventWait.objects.filter(
        run=approval.run_id, sequence=approval.sequence, kind=EventWaitKind.APPROVAL
    )
    mine.close(EventWaitStatus.RECEIVED)
    withdraw([approval.run_id], came_first(approval.node_name))


def expire(run_id: UUID, now: dt.datetime) -> None:
    """Close what a run waited for until now, in the transaction that moves it.

    Of several waits only the one with the earliest end has expired; the others are withdrawn.
    """
    waits = EventWait.objects.open().filter(run=run_id, expires_at__lte=now)
    first = waits.order_by("expires_at", "position").first()
    if first is not None:
        EventWait.objects.filter(pk=first.pk).close(EventWaitStatus.EXPIRED)
    if first is None or first.kind == EventWaitKind.APPROVAL:
        Approval.objects.filter(run=run_id, expires_at__lte=now).expire(now)
    withdraw([run_id], came_first(first.node_name) if first else "")


def deliver_to(run_id: UUID) -> None:
    """Deliver what was kept for a run that has begun to wait."""
    for event in _events(EventWait.objects.open().filter(run=run_id)):
        deliver(event)


def deliver_missed() -> Iterator[UUID]:
    """Deliver what a process left when it ended between a commit and its delivery."""
    kept = EventMessage.objects.filter(
        workflow_name=OuterRef("workflow_name"),
        name=OuterRef("name"),
        key=OuterRef("key"),
        delivered_at=None,
        created_at__gt=oldest_kept(),
    )
    for event in _events(EventWait.objects.open().filter(Exists(kept))):
        yield from deliver(event)


def _events(waits: QuerySet[EventWait]) -> list[Event]:
    rows = waits.filter(kind=EventWaitKind.EVENT).order_by()
    found = rows.values_list("workflow_name", "name", "key").distinct()
    return [Event(*one) for one in found[:MAX_EVENTS]]
