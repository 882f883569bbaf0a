"""Which runs have lost their worker: the lease expired and was not renewed afterwards.

A lease can also expire because of an outage of the database, or of a clock jump. Then the
leases of all workers expire together, and each worker renews its own at its next heartbeat.
An expired lease is therefore checked again after two heartbeats, measured on the monotonic
clock of the worker that checks, and only one that is still not renewed counts as lost. For
the duration of a lease after an outage none does: some workers are slow to reconnect.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.infra import outages
from workflows.models.status_transitions import GIVEN_UP

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from workflows.models import Run

HEARTBEATS = 2

Lease = tuple["UUID", int, "dt.datetime | None"]


class Overdue:
    """Remembers which leases had expired at an earlier check."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        outage: outages.Outage = outages.database,
    ) -> None:
        """`clock` measures the time between checks, `outage` is that of the database."""
        self._clock = clock
        self._outage = outage
        self._expired_since: dict[Lease, float] = {}

    def lost(self, expired: Iterable[Run]) -> Iterator[Run]:
        """Yield those of the expired runs that no worker holds any more."""
        if self._outage.is_recent(settings.LEASE_SECONDS):
            self._expired_since = {}
            return
        now = self._clock()
        grace = settings.HEARTBEAT_SECONDS * HEARTBEATS
        leases = {(run.pk, run.attempt, run.lease_expires_at): run for run in expired}
        self._expired_since = {
            lease: self._expired_since.get(lease, now) for lease in leases
        }
        for lease, since in self._expired_since.items():
            if lease[2] == GIVEN_UP or now - since >= grace:
                yield leases[lease]
