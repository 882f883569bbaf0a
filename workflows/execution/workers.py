"""The rows of workers: registration, heartbeat, and which of them are alive."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from workflows.infra import clock
from workflows.models import Run, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet


def register(name: str, capacity: int) -> None:
    """Insert the row of a worker; expire the leases of workers known to have ended.

    These are an earlier process of this name, and those whose process on this machine has
    ended: nobody continues their runs, so no other worker needs to wait for the leases.
    """
    ended = [name, *_ended_on_this_host()]
    Run.objects.filter(worker__in=ended).expire()
    Worker.objects.filter(name__in=ended).update(stopped_at=timezone.now())
    _insert(name, capacity, running=0)


def _insert(name: str, capacity: int, running: int) -> None:
    Worker.objects.update_or_create(
        name=name,
        defaults={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "capacity": capacity,
            "running": running,
            "holds": [],
            "started_at": timezone.now(),
            "heartbeat_at": clock.in_seconds(0),
            "stopped_at": None,
        },
    )


def record_heartbeat(
    name: str, running: int, capacity: int, holds: Sequence[object] = ()
) -> None:
    """Store that the worker is alive, its slots in use, and what holds it up.

    An older copy of the database may be without the worker's row: it is inserted again.
    """
    rows = Worker.objects.filter(name=name)
    if not rows.update(
        heartbeat_at=clock.in_seconds(0), running=running, holds=[*holds]
    ):
        _insert(name, capacity, running)


def record_holds(name: str, holds: Sequence[object]) -> None:
    """Store what holds the worker up, between two heartbeats."""
    Worker.objects.filter(name=name).update(holds=[*holds])


def deregister(name: str) -> None:
    """Store that the worker has stopped."""
    Worker.objects.filter(name=name).update(
        stopped_at=timezone.now(), running=0, holds=[]
    )


def alive() -> QuerySet[Worker]:
    """Return the workers whose last heartbeat is younger than a lease."""
    since = clock.in_seconds(-settings.LEASE_SECONDS)
    return Worker.objects.filter(stopped_at=None, heartbeat_at__gte=since)


def any_alive() -> bool:
    """Return True if a worker is alive that could claim a pending run."""
    return alive().exists()


def _ended_on_this_host() -> list[str]:
    """Return workers of this machine whose process has ended without deregistering.

    A process of another container with this host's name may seem to have ended; its runs are then
    recovered, and the fence keeps it from writing.
    """
    rows = Worker.objects.filter(host=socket.gethostname(), stopped_at=None)
    return [row.name for row in rows if not _is_running(row.pid)]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
