"""Messages to workers, which may be late."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from tests.support.factories import make_run
from workflows.execution.worker_messages import WorkerMessages
from workflows.infra.database_threads import run_in_db
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


class Recording:
    """A worker that notes the runs that it has to cancel."""

    def __init__(self) -> None:
        self.cancelled: list[tuple[UUID, str]] = []

    def cancel(self, run_id: UUID, reason: str) -> None:
        self.cancelled.append((run_id, reason))


async def deliver(run: Run) -> list[tuple[UUID, str]]:
    worker: Any = Recording()
    message = {"type": "run.cancel", "run": str(run.pk)}
    await WorkerMessages(worker).handle_message(message)
    found: list[tuple[UUID, str]] = worker.cancelled
    return found


async def test_a_requested_cancellation_reaches_the_worker_with_its_reason() -> None:
    values = {"cancel_requested_at": timezone.now(), "cancel_reason": "enough"}
    run = await run_in_db(lambda: make_run(status="running", **values))
    assert await deliver(run) == [(run.pk, "enough")]


async def test_a_late_message_does_not_cancel_a_run_that_was_resumed() -> None:
    run = await run_in_db(lambda: make_run(status="running"))
    assert await deliver(run) == []
