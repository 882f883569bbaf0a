"""Which workers are alive: those whose heartbeat is fresh."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.infra import clock
from workflows.models import Worker

if TYPE_CHECKING:
    from django.db.models import QuerySet


def alive() -> QuerySet[Worker]:
    """Return the workers whose last heartbeat is younger than a lease."""
    since = clock.in_seconds(-settings.LEASE_SECONDS)
    return Worker.objects.filter(stopped_at=None, heartbeat_at__gte=since)


def gone_from_this_host() -> list[str]:
    """Return workers of this machine whose process has ended without a goodbye.

    Their runs need not wait for their leases: nobody is left to go on with them. A
    process of another container with this host's name may seem gone; its runs are then
    taken over, and the fence keeps it from writing.
    """
    silent = Worker.objects.filter(host=socket.gethostname(), stopped_at=None)
    return [row.name for row in silent if not _is_running(row.pid)]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return True


def any_alive() -> bool:
    """Tell whether anyone would take a pending run."""
    return alive().exists()
