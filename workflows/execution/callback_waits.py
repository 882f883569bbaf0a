"""Addresses of callbacks: made before an author's function gives them away, revoked at the end.

The wait is a row before the function is called, since the response may arrive before the function
returns. Its address has the row's random id and a signature, so that the contents of the
database are not enough to make one. A run that was ended and resumed gets another address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin
from uuid import UUID, uuid4

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.urls import reverse

from workflows.engine.errors import Superseded
from workflows.infra import clock
from workflows.models import (
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Outcome,
    Run,
    Status,
)

if TYPE_CHECKING:
    import datetime as dt

    from workflows.engine import NodeContext

SIGNER: Final = Signer(sep=".", salt="signalbox.callback")
ENDS: Final = (Outcome.FAILED, Outcome.CANCELLED)


class NotHeld(Superseded):
    """The run is no longer held by this worker, which cannot make an address for it."""


def token_of(address_id: UUID) -> str:
    """Return the secret part of an address."""
    return SIGNER.sign(address_id.hex)


def address_id_of(token: str) -> UUID | None:
    """Return the id of an address with a valid signature, else None."""
    try:
        return UUID(hex=SIGNER.unsign(token))
    except (BadSignature, ValueError):
        return None


def url_of(token: str) -> str:
    """Return the address that a third party posts to."""
    return urljoin(settings.PUBLIC_URL, reverse("callback", args=[token]))


def open_wait(run: Run, context: NodeContext, until: dt.datetime | None) -> UUID | None:
    """Open the wait of a step and return the id of its address.

    None if a message has arrived already, at this address or another one of the step. An open
    wait of an earlier try keeps its address.
    Raises NotHeld.
    """
    with transaction.atomic():
        held = Run.objects.filter(
            pk=run.pk, attempt=run.attempt, worker=run.worker, status=Status.RUNNING
        )
        if not held.select_for_update().exists():
            raise NotHeld
        waits = EventWait.objects.filter(run=run, sequence=context.sequence)
        if waits.filter(status=EventWaitStatus.RECEIVED).exists():
            return None
        wait = waits.filter(position=context.position).first()
        if wait is None:
            wait = EventWait(
                run=run, sequence=context.sequence, position=context.position
            )
        elif _is_current(wait):
            return wait.address_id
        wait.workflow_name, wait.node_name = run.workflow_name, context.node
        wait.kind, wait.status = EventWaitKind.CALLBACK, EventWaitStatus.OPEN
        wait.message, wait.closed_at = None, None
        wait.created_at, wait.expires_at = clock.local_now(), until
        wait.address_id = uuid4()
        wait.save()
        return wait.address_id


def _is_current(wait: EventWait) -> bool:
    """Return whether the address of a wait is valid: it was made since the run last ended."""
    if wait.address_id is None or wait.status != EventWaitStatus.OPEN:
        return False
    ended = wait.run.attempts.filter(outcome__in=ENDS, ended_at__gte=wait.created_at)
    return not ended.exists()
