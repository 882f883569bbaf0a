"""Transitions of a run's status: each is one conditional UPDATE with a row count.

`run.status` is never assigned. An update that changed no row lost to another one, which
is a normal outcome that the caller reports. Transitions by a worker are conditional on
its attempt, so that a worker whose lease was taken over changes nothing.

    pending → running                       queue.claim, several per statement
    running → completed, failed, cancelled  finish (and the recorder, in bulk)
    running → waiting                       the recorder, when a node pauses
    running → pending                       the recorder (drained), recover (lease expired),
                                            release (its event loop was replaced, or its
                                            child process stopped),
                                            requeue_rewound (the database was restored)
    waiting → pending                       wake
    pending, waiting → cancelled            cancel
    running, waiting → pending              close: a worker runs what follows the end
    failed, cancelled → pending             resume
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from workflows.models.status import (
    CANCEL_AGAIN,
    ENDED,
    RESUMABLE,
    Status,
    Suspicion,
)

if TYPE_CHECKING:
    from workflows.models.runs import Run  # noqa: F401 - in the quotes below


# The lease of a worker whose process is known to have ended; expires immediately.
GIVEN_UP: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class RunQuerySet(models.QuerySet["Run"]):
    """Runs, and the conditional updates of their status."""

    def lock(self) -> bool:
        """Lock these rows until the end of the transaction; return whether there are any.

        Reads no other column, since rows of runs are large. A run is locked before its rows in
        other tables, so that no two processes wait for each other.
        """
        return bool(self.select_for_update().order_by("pk").values_list("pk"))

    def live(self) -> RunQuerySet:
        """Return the runs that have not ended."""
        return self.exclude(status__in=ENDED)

    def expired(self, now: dt.datetime) -> RunQuerySet:
        """Return running runs whose worker did not renew its lease in time."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=now)

    def _transition(self, **changes: object) -> int:
        """Update the rows of this query set, with a new version."""
        return self.update(
            version=F("version") + 1, updated_at=timezone.now(), **changes
        )

    def expire(self) -> int:
        """Expire the leases of ended workers; the sweep recovers their runs."""
        return self.filter(status=Status.RUNNING).update(lease_expires_at=GIVEN_UP)

    def finish(
        self,
        status: Status,
        *,
        result: object = None,
        message: str = "",
        code: str = "",
        node: str = "",
    ) -> int:
        """running → ended. Call it on runs whose own task cannot record their end."""
        return self.filter(status=Status.RUNNING)._transition(  # noqa: SLF001
            status=status,
            result=result,
            error_message=message,
            error_code=code,
            error_node=node,
            completed_at=timezone.now(),
            lease_expires_at=None,
            waiting_for="",
            waiting_node="",
            secrets=None,
        )

    def recover(
        self, suspicion: Suspicion = Suspicion.SUSPECT, *, is_charged: bool = False
    ) -> int:
        """running → pending: its process was lost; if charged, this counts for MAX_RECOVERIES."""
        return self.filter(status=Status.RUNNING)._transition(  # noqa: SLF001
            status=Status.PENDING,
            lease_expires_at=None,
            suspicion=suspicion,
            recoveries=F("recoveries") + int(is_charged),
        )

    def release(self) -> int:
        """running → pending: the worker releases the run, for no fault of the run."""
        return self.filter(status=Status.RUNNING)._transition(  # noqa: SLF001
            status=Status.PENDING, lease_expires_at=None
        )

    def requeue_rewound(self, *, after_version: int) -> int:
        """running → pending, without counting as a recovery: the database was restored.

        Open pages may show `after_version`, which is newer than the row: skip past it.
        """
        return self.filter(status=Status.RUNNING).update(
            status=Status.PENDING,
            lease_expires_at=None,
            version=Greatest(F("version"), after_version) + 1,
            updated_at=timezone.now(),
        )

    def touch(self) -> int:
        """Count a change of what pages show of waiting runs: a vote."""
        return self.filter(status=Status.WAITING)._transition()  # noqa: SLF001

    def wake(self) -> int:
        """waiting → pending: the response, the child's end or the timer has arrived."""
        return self.filter(status=Status.WAITING)._transition(  # noqa: SLF001
            status=Status.PENDING, waiting_for=""
        )

    def cancel(self, *, by_id: int | None, reason: str) -> int:
        """pending, waiting → cancelled, immediately."""
        now = timezone.now()
        return self.filter(status__in=(Status.PENDING, Status.WAITING))._transition(  # noqa: SLF001
            status=Status.CANCELLED,
            cancel_requested_at=now,
            cancel_requested_by=by_id,
            cancel_reason=reason,
            error_code="cancelled",
            error_message=reason,
            completed_at=now,
            waiting_for="",
            wake_at=None,
            secrets=None,
        )

    def close(self, closing: dict[str, object], **changes: object) -> int:
        """pending, waiting, running → pending: how it ends is decided.

        A worker undoes its steps and runs its node at the end, then ends it as `closing` has it.
        """
        statuses = (Status.PENDING, Status.WAITING, Status.RUNNING)
        undecided = self.filter(status__in=statuses, closing__isnull=True)
        return undecided._transition(  # noqa: SLF001
            status=Status.PENDING,
            closing=closing,
            lease_expires_at=None,
            waiting_for="",
            waiting_node="",
            wake_at=None,
            recoveries=0,
            **changes,
        )

    def request_cancel(self, *, by_id: int | None, reason: str) -> int:
        """Request a running run's cancellation; return 0 if one was requested just before.

        A node can ignore its cancellation: after CANCEL_AGAIN it can be requested again.
        """
        now = timezone.now()
        first = Q(cancel_requested_at__isnull=True)
        again = Q(cancel_requested_at__lt=now - CANCEL_AGAIN)
        running = self.filter(status=Status.RUNNING, closing__isnull=True)
        return running.filter(first | again)._transition(  # noqa: SLF001
            cancel_requested_at=now,
            cancel_requested_by=by_id,
            cancel_reason=reason,
        )

    def resume(self, **changes: object) -> int:
        """failed, cancelled → pending; the attempts keep the cleared values.

        A run whose steps were undone cannot continue.
        """
        kept = Q(steps_to_undo__isnull=True) | Q(steps_to_undo=0)
        return self.filter(kept, status__in=RESUMABLE)._transition(  # noqa: SLF001
            status=Status.PENDING,
            completed_at=None,
            result=None,
            error_message="",
            error_code="",
            error_node="",
            cancel_requested_at=None,
            cancel_requested_by=None,
            cancel_reason="",
            recoveries=0,
            **changes,
        )
