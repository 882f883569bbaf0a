"""Sending of messages to runs that wait for events: who may, validation, and the rows.

A message goes to the workflows that wait for its name: by default to all of them, each of which
the sender has to be permitted to operate. There is a row for each workflow, so that permissions,
redaction and retention are those of the workflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db import IntegrityError, transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.engine.author_code import call_contained
from workflows.engine.event_nodes import EventNode, event_nodes, key_problem
from workflows.errors import (
    EventNotFound,
    InvalidMessage,
    MessageKeyReused,
    NotAllowed,
)
from workflows.execution import event_delivery
from workflows.execution.params import check_answer
from workflows.infra import process_metrics
from workflows.models import EventMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.access.permissions import Person
    from workflows.registry import AnyWorkflow, Registry

SYSTEM: Final = "system"
MAX_IDEMPOTENCY_KEY: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to the runs of one workflow, and the runs that it moved."""

    message: EventMessage
    runs: Sequence[UUID] = field(default=())

    @property
    def is_kept(self) -> bool:
        """Whether no run has waited for it yet."""
        return not self.runs and self.message.delivered_at is None


def declared_events(workflow: AnyWorkflow) -> dict[str, EventNode]:
    """Return the events that a workflow waits for, by name; none if it cannot be built."""
    try:
        nodes = call_contained(lambda: list(workflow.graph.all_nodes.values()))
    except Exception:  # a factory that needs params
        return {}
    return {node.event_name: node for node in event_nodes(nodes)}


def events_for(registry: Registry, by: Person | None) -> dict[str, list[str]]:
    """Return the events that `by` may send: names of workflows by name of the event."""
    granted = permissions.EVERYTHING if by is None else permissions.permissions_for(by)
    found: dict[str, list[str]] = {}
    for workflow in registry.list():
        if workflow.name in granted.operate:
            for name in declared_events(workflow):
                found.setdefault(name, []).append(workflow.name)
    return dict(sorted(found.items()))


def checked(  # noqa: PLR0913 - fields of a message
    registry: Registry,
    name: str,
    key: str,
    value: Mapping[str, Any],
    *,
    by: Person | None,
    workflow: str = "",
) -> dict[str, dict[str, Any]]:
    """Return the value of a message as each workflow reads it; see `System.send`."""
    nodes = _targets(registry, name, workflow, by)
    if problem := key_problem(key):
        raise InvalidMessage({"key": [f"The key {problem}"]})
    return {
        target: check_answer(node.answer_type, value, of=f"The event “{name}”")
        for target, node in nodes.items()
    }


def send(  # noqa: PLR0913 - fields of a message
    registry: Registry,
    name: str,
    key: str,
    value: Mapping[str, Any],
    *,
    by: AbstractBaseUser | None,
    workflow: str = "",
    idempotency_key: str | None = None,
) -> list[Sent]:
    """Send a message to the runs that wait for it; see `System.send`."""
    values = checked(registry, name, key, value, by=by, workflow=workflow)
    _check_idempotency_key(idempotency_key)
    messages = []
    with transaction.atomic():
        for target, fields in values.items():
            message = EventMessage(
                workflow_name=target,
                name=name,
                key=key,
                value=fields,
                sender_id=by.pk if by else None,
                sender_name=by.get_username() if by else SYSTEM,
                address=audit_events.address(),
                idempotency_key=idempotency_key,
            )
            messages.append(_inserted(message, by))
    new = sum(not message.already_sent for message in messages)
    process_metrics.EVENT_MESSAGES.labels("sent").inc(new)
    return [_delivered(message) for message in messages]


def _targets(
    registry: Registry, name: str, workflow: str, by: Person | None
) -> dict[str, EventNode]:
    """Return the node of each workflow that a message goes to.

    Raises EventNotFound, NotAllowed, InvalidMessage.
    """
    if workflow:
        return {workflow: _target(registry, name, workflow, by)}
    nodes = {
        one.name: declared[name]
        for one in registry.list()
        if name in (declared := declared_events(one))
    }
    granted = permissions.EVERYTHING if by is None else permissions.permissions_for(by)
    if not any(target in granted.view for target in nodes):
        raise EventNotFound(name)
    if refused := [target for target in nodes if target not in granted.operate]:
        visible = [target for target in refused if target in granted.view]
        where = f"“{visible[0]}”" if visible else "a workflow that you cannot see"
        raise NotAllowed(
            f"The event “{name}” would also move runs of {where}, whose runs you can’t operate."
            " Name the workflow that the message is for, or ask an administrator for access."
        )
    return nodes


def _target(
    registry: Registry, name: str, workflow: str, by: Person | None
) -> EventNode:
    """Return the node of the one workflow that a message goes to.

    Raises EventNotFound, NotAllowed, InvalidMessage.
    """
    granted = permissions.EVERYTHING if by is None else permissions.permissions_for(by)
    found = registry.find(workflow)
    if found is None or workflow not in granted.view:
        raise EventNotFound(name)
    declared = declared_events(found)
    permissions.require(workflow in granted.operate, "send events to this workflow")
    if name not in declared:
        known = [f"“{event}”" for event in declared] or ["no event"]
        raise InvalidMessage(
            {
                "name": [
                    f"{workflow} does not wait for it; it waits for {', '.join(known)}."
                ]
            }
        )
    return declared[name]


def _check_idempotency_key(key: str | None) -> None:
    """Raise InvalidMessage for an idempotency key that cannot be stored."""
    if key is not None and not (
        0 < len(key) <= MAX_IDEMPOTENCY_KEY and key.isprintable()
    ):
        text = f"An idempotency key has 1 to {MAX_IDEMPOTENCY_KEY} characters that can be shown."
        raise InvalidMessage({"idempotency_key": [text]})


def _inserted(message: EventMessage, by: AbstractBaseUser | None) -> EventMessage:
    """Insert a message with its audit event, or return the earlier one with its key.

    Raises MessageKeyReused.
    """
    try:
        with transaction.atomic():
            message.save(force_insert=True)
    except IntegrityError:
        earlier = EventMessage.objects.filter(
            workflow_name=message.workflow_name,
            name=message.name,
            idempotency_key=message.idempotency_key,
        ).first()
        if earlier is None:
            raise
        if not _is_same(earlier, message):
            raise MessageKeyReused(earlier.short_id) from None
        earlier.already_sent = True
        return earlier
    audit_events.note(
        "send event",
        by=by,
        reason=event_delivery.described(message),
        workflow=message.workflow_name,
    )
    return message


def _is_same(one: EventMessage, other: EventMessage) -> bool:
    """Return whether two messages have the same content; removed values count as equal."""
    if (one.key, one.sender_id) != (other.key, other.sender_id):
        return False
    return one.value is None or one.value == other.value


def _delivered(message: EventMessage) -> Sent:
    """Deliver a message after its commit; return it with the runs that it moved."""
    event = event_delivery.Event(message.workflow_name, message.name, message.key)
    event_delivery.deliver(event)
    already_sent = message.already_sent
    message = EventMessage.objects.get(pk=message.pk)
    message.already_sent = already_sent
    runs = message.waits.order_by("run_id").values_list("run_id", flat=True)
    return Sent(message, list(runs))
