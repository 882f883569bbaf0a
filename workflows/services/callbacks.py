"""What third parties post to the addresses that nodes gave them: once, until the wait ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.utils import timezone

from workflows.audit import audit_events
from workflows.engine.author_code import call_contained
from workflows.errors import (
    CallbackNotFound,
    CallbackOver,
    CallbackUsed,
    WorkflowUnavailable,
)
from workflows.execution import callback_waits, event_delivery
from workflows.execution.params import check_answer
from workflows.infra import notifications
from workflows.models import EventMessage, EventWait, EventWaitStatus, Run, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from workflows.registry import Registry

SENDER: Final = "callback"


def find(token: str) -> EventWait:
    """Return the open wait of an address.

    Raises CallbackNotFound, CallbackUsed, CallbackOver.
    """
    address_id = callback_waits.address_id_of(token)
    waits = EventWait.objects.filter(address_id=address_id).select_related("run")
    wait = waits.first() if address_id is not None else None
    if wait is None:
        raise CallbackNotFound
    _require_open(wait)
    return wait


def _require_open(wait: EventWait) -> None:
    """Raise CallbackUsed, CallbackOver unless a wait accepts a message."""
    if wait.status == EventWaitStatus.RECEIVED:
        raise CallbackUsed
    is_expired = wait.expires_at is not None and wait.expires_at <= timezone.now()
    if wait.status != EventWaitStatus.OPEN or is_expired or _is_over(wait.run):
        raise CallbackOver


def _is_over(run: Run) -> bool:
    return run.is_ended or run.closing is not None


def receive(registry: Registry, token: str, value: Mapping[str, Any]) -> EventMessage:
    """Store what was posted to an address, and continue the run if it waits already.

    1. Check address and value: nothing is stored on an error.
    2. Lock the run, as all code that moves it does, and close its wait with the message; of
       two requests at once the second one finds it closed.
    3. A run that does not wait yet continues when its node has returned.

    Raises CallbackNotFound, CallbackUsed, CallbackOver, WorkflowUnavailable, InvalidParams.
    """
    wait = find(token)
    kind = _answer_type(registry, wait)
    checked = check_answer(kind, value, of="The content")
    try:
        return _take(token, wait.run_id, checked)
    except (CallbackOver, CallbackUsed):
        # a claim that found the run locked has skipped it
        notifications.pending_on_commit()
        raise


def _take(token: str, run_id: UUID, value: Any) -> EventMessage:
    """Store the message and close the wait. Raises as `receive`."""
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=run_id).first()
        if run is None:
            raise CallbackNotFound
        wait = find(token)
        if _has_ended(wait, run):
            raise CallbackOver
        message = EventMessage.objects.create(
            workflow_name=run.workflow_name,
            name="",
            value=value,
            sender_name=SENDER,
            address=audit_events.address(),
            delivered_at=timezone.now(),
        )
        if not event_delivery.receive(wait, message):
            raise CallbackUsed
        if run.status == Status.WAITING:
            event_delivery.move([run], message)
    return message


def _has_ended(wait: EventWait, run: Run) -> bool:
    """Return whether a locked run has left the step of a wait, or will with another message."""
    if run.sequence >= wait.sequence:
        return True
    others = run.event_waits.filter(sequence=wait.sequence)
    return others.filter(status=EventWaitStatus.RECEIVED).exists()


def _answer_type(registry: Registry, wait: EventWait) -> Any:
    """Return the type that a node waits for. Raises WorkflowUnavailable."""
    workflow = registry.find(wait.workflow_name)
    try:
        nodes = call_contained(lambda: workflow.graph.all_nodes) if workflow else {}
    except Exception as error:  # a factory that needs params
        raise WorkflowUnavailable from error
    kind = getattr(nodes.get(wait.node_name), "answer_type", None)
    if kind is None:
        raise WorkflowUnavailable
    return kind
