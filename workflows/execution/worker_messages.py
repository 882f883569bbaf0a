"""Messages to the workers: a run is pending, or is to be cancelled.

Each handler does little and returns, since one message is handled at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from channels.consumer import get_handler_name

from workflows.infra.database_threads import run_in_db
from workflows.models import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.execution.worker import Worker


class WorkerMessages:
    """Calls the method that is named like the type of a message.

    Not a Channels consumer: that would check for old database connections before each
    message, on another thread.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def handle_message(self, message: dict[str, Any]) -> None:
        """Call the handler. Raises ValueError for a message of an unknown type."""
        name = get_handler_name(message)
        if name not in {"runs_pending", "run_cancel"}:
            raise ValueError(f"Workers have no handler for {message['type']!r}.")
        await getattr(self, name)(message)

    async def runs_pending(self, _message: Mapping[str, str]) -> None:
        """Check the queue."""
        self._worker.wake()

    async def run_cancel(self, message: Mapping[str, str]) -> None:
        """Cancel a run if it is held here; the request and its reason are on its row.

        A message that is late may find a run that was cancelled and resumed meanwhile.
        """
        run_id = UUID(message["run"])
        reason = await run_in_db(_cancel_reason, run_id)
        if reason is not None:
            self._worker.cancel(run_id, reason)


def _cancel_reason(run_id: UUID) -> str | None:
    """Return the reason of a requested cancellation, None if there is no request."""
    requested = Run.objects.filter(pk=run_id, cancel_requested_at__isnull=False)
    return requested.values_list("cancel_reason", flat=True).first()
