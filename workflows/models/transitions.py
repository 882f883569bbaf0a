"""How a run's status moves: each move is one conditional UPDATE with a row count.

Nobody assigns `run.status`. A move that changed no row lost to another one, which is a
normal outcome: the caller says so to whoever asked. Moves that a worker makes carry
its attempt, so that a worker whose lease was taken over changes nothing.

    pending → running                       queue.claim, many at once
    running → completed, failed, cancelled  finish (and the recorder, in bulk)
    running → waiting                       the recorder, when a node pauses
    running → pending                       the recorder (drained), recover (lease expired),
                                            give_back (the database went back)
    waiting → pending                       wake
    pending, waiting → cancelled            cancel
    failed, cancelled → pending             resume
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from workflows.models.status import CANCEL_AGAIN, ENDED, RESUMABLE, Status

if TYPE_CHECKING:
    from workflows.models.runs import Run  # noqa: F401 - in the quotes below


# The lease of a worker that is known to be gone: nobody waits for a sign of life.
GIVEN_UP: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class RunQuerySet(models.QuerySet["Run"]):
    """Runs, and the conditional updates that move them."""

    def live(self) -> RunQuerySet:
        """Return the runs that have not ended."""
        return self.exclude(status__in=ENDED)

    def expired(self, now: dt.datetime) -> RunQuerySet:
        """Return running runs whose worker did not renew its lease in time."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=now)

    def _move(self, **changes: object) -> int:
        """Change the rows of this query set; every change makes a new version."""
        return self.update(
            version=F("version") + 1, updated_at=timezone.now(), **changes
        )

    def expire(self) -> int:
        """End the leases of workers that are known to be gone: the sweep does the rest."""
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
        """running → ended. Call it on `expired` runs only."""
        return self.filter(status=Status.RUNNING)._move(  # noqa: SLF001
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

    def recover(self) -> int:
        """running → pending: the worker was lost; counts towards MAX_RECOVERIES."""
        return self.filter(status=Status.RUNNING)._move(  # noqa: SLF001
            status=Status.PENDING, lease_expires_at=None, recoveries=F("recoveries") + 1
        )

    def give_back(self, *, after_version: int) -> int:
        """running → pending, without counting as a recovery: the database went back.

        Open pages may show `after_version`, which the row has not reached: it skips it.
        """
        return self.filter(status=Status.RUNNING).update(
            status=Status.PENDING,
            lease_expires_at=None,
            version=Greatest(F("version"), after_version) + 1,
            updated_at=timezone.now(),
        )

    def wake(self) -> int:
        """waiting → pending: the answer, the child or the moment has come."""
        return self.filter(status=Status.WAITING)._move(  # noqa: SLF001
            status=Status.PENDING, waiting_for=""
        )

    def cancel(self, *, by_id: int | None, reason: str) -> int:
        """pending, waiting → cancelled, at once."""
        now = timezone.now()
        return self.filter(status__in=(Status.PENDING, Status.WAITING))._move(  # noqa: SLF001
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

    def request_cancel(self, *, by_id: int | None, reason: str) -> int:
        """Ask the worker of a running run to stop it; False when one asked just before.

        A node may ignore that it is cancelled: after CANCEL_AGAIN one may ask again.
        """
        now = timezone.now()
        first = Q(cancel_requested_at__isnull=True)
        again = Q(cancel_requested_at__lt=now - CANCEL_AGAIN)
        return self.filter(first | again, status=Status.RUNNING)._move(  # noqa: SLF001
            cancel_requested_at=now,
            cancel_requested_by=by_id,
            cancel_reason=reason,
        )

    def resume(self, **changes: object) -> int:
        """failed, cancelled → pending; the attempt history keeps what is cleared."""
        return self.filter(status__in=RESUMABLE)._move(  # noqa: SLF001
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
