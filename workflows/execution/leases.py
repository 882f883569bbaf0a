"""When a worker is believed to be lost: its lease ran out, and it does not come back.

A lease may also run out because the database was away, or because a clock jumped; then
every worker's leases run out at once, and each renews its own at its next heartbeat. So
whoever finds a lease that ran out looks again after two heartbeats, measured on its own
monotonic clock. Only one that nobody has renewed until then is taken over. For as long as
a lease lasts after an outage nobody is believed lost: some are slow to come back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.infra import outages
from workflows.models.transitions import GIVEN_UP

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from workflows.models import Run

HEARTBEATS = 2

Lease = tuple["UUID", int, "dt.datetime | None"]


class Overdue:
    """Remembers which leases had run out at an earlier look."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        outage: outages.Outage = outages.database,
    ) -> None:
        """Take what measures the time between two looks, and what may have been away."""
        self._clock = clock
        self._outage = outage
        self._seen: dict[Lease, float] = {}

    def lost(self, expired: Iterable[Run]) -> Iterator[Run]:
        """Return those of the runs whose lease ran out that nobody holds any more."""
        if self._outage.within(settings.LEASE_SECONDS):
            self._seen = {}
            return
        now = self._clock()
        patience = settings.HEARTBEAT_SECONDS * HEARTBEATS
        leases = {(run.pk, run.attempt, run.lease_expires_at): run for run in expired}
        self._seen = {lease: self._seen.get(lease, now) for lease in leases}
        for lease, since in self._seen.items():
            if lease[2] == GIVEN_UP or now - since >= patience:
                yield leases[lease]
