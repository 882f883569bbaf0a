"""Runs that a step of another run launches without waiting for them, and runs that continue one.

Each is inserted by a record of its origin, in a transaction that holds the lock on the origin's
row and that passed its fence: no other attempt does the same. The constraint `run_link_once`
holds as well, so that a step has at most one run of a kind.

    launch      inserted and committed before the step continues, which then has the id
    continue    inserted in the transaction that completes the origin
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.audit import audit_events
from workflows.documents import uses
from workflows.execution import launching, queue
from workflows.models import ChildItem, LinkKind, Run, RunLink, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.registry import Registry


def launched_at(run: Run, sequence: int) -> str | None:
    """Return the id of the run that a step launched, None if it has launched none."""
    links = RunLink.objects.filter(
        origin=run.pk, sequence=sequence, kind=LinkKind.LAUNCH
    )
    found = links.values_list("run_id", flat=True).first()
    return None if found is None else str(found)


def new_run(
    origin: Run,
    workflow: str,
    params: Mapping[str, Any],
    workflows: Registry,
    traceparent: str,
) -> Run:
    """Return a run for a step to launch, not inserted. It gets neither token nor profile.

    Raises WorkflowNotFound, AgentUnavailable, InvalidParams.
    """
    return launching.new_run(
        workflows.get(workflow),
        params,
        launched_by_id=origin.launched_by_id,
        priority=origin.priority,
        scheduled_for=origin.scheduled_for,
        traceparent=traceparent or origin.traceparent,
    )


def new_successor(
    origin: Run, params: Mapping[str, Any], workflows: Registry, traceparent: str
) -> Run:
    """Return the run that continues one, not inserted.

    It has the profile, the token and the place below a parent of its origin: the parent waits
    for it instead. Raises WorkflowNotFound, AgentUnavailable, InvalidParams.
    """
    successor = launching.new_run(
        workflows.get(origin.workflow_name),
        params,
        profile=origin.profile_name,
        launched_by_id=origin.launched_by_id,
        priority=origin.priority,
        scheduled_for=origin.scheduled_for,
        traceparent=traceparent or origin.traceparent,
        parent_id=origin.parent_id,
        parent_sequence=origin.parent_sequence,
    )
    successor.secrets = origin.secrets
    return successor


def insert(run: Run, origin: Run, sequence: int) -> None:
    """Insert a run that a step launches; call it in the transaction of a record of the origin."""
    if launched_at(origin, sequence) is None:
        reason = f"Launched by step {sequence} of run {origin.pk}."
        _insert(run, origin, sequence, LinkKind.LAUNCH, reason)


def insert_successor(run: Run, origin: Run, sequence: int) -> None:
    """Insert the run that continues one, in the transaction that completes the origin.

    A cancel that was requested in between is respected: then there is none.
    """
    row = Run.objects.filter(pk=origin.pk, cancel_requested_at=None)
    if not row.exists():
        return
    row.update(parent_sequence=None)  # its parent waits for the successor
    _insert(run, origin, sequence, LinkKind.CONTINUE, f"Continues run {origin.pk}.")
    ChildItem.objects.filter(child=origin.pk).update(child=run.pk)


def _insert(run: Run, origin: Run, sequence: int, kind: LinkKind, reason: str) -> None:
    event = audit_events.entry(
        run, "launch", by=None, reason=reason, after=Status.PENDING
    )
    queue.enqueue(run, event)
    RunLink.objects.create(
        run_id=run.pk, origin_id=origin.pk, kind=kind, sequence=sequence
    )
    uses.note(run.workflow_name, run.params)
