"""Health checks of this process and of the services it needs.

`/health/live` checks nothing: a process that does not respond needs a restart.
`/health/pages` checks what pages need: for a load balancer in front of the web processes.
`/health/ready` checks everything that a run needs, and reports the state of each part.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from workflows.engine import threads
from workflows.execution import workers
from workflows.infra import outages
from workflows.models import Worker
from workflows.outbox import triggers

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_SECONDS = 8.0  # of one check; longer than the timeout of a connection
MIN_FREE_BYTES = 100_000_000  # below it, an upload or a checkpoint might not fit
NEED_DATABASE = {"migrations", "workers"}
PAGE_CHECKS = ("database", "migrations")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The state of one part, with a message."""

    ok: bool
    message: str


@require_safe
@never_cache
def live(_request: HttpRequest) -> JsonResponse:
    """Respond with 200."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
async def pages(_request: HttpRequest) -> JsonResponse:
    """Respond with 200 if this process can serve pages, else 503."""
    return _to_response(await check(PAGE_CHECKS))


@require_safe
@never_cache
async def ready(_request: HttpRequest) -> JsonResponse:
    """Respond with the state of each part: 200 if all are well, else 503."""
    return _to_response(await check(CHECKS))


def _to_response(results: Mapping[str, CheckResult]) -> JsonResponse:
    ok = all(result.ok for result in results.values())
    body = {
        "status": "ready" if ok else "not ready",
        "checks": {
            name: {"ok": result.ok, "message": result.message}
            for name, result in results.items()
        },
    }
    return JsonResponse(body, status=200 if ok else 503)


async def check(names: Iterable[str]) -> dict[str, CheckResult]:
    """Run the checks; skip those that need the database if it is unavailable."""
    results: dict[str, CheckResult] = {}
    for name in names:
        database = results.get("database")
        if database is not None and not database.ok and name in NEED_DATABASE:
            results[name] = CheckResult(
                ok=False, message="Not checked without the database."
            )
        else:
            results[name] = await _run_check(CHECKS[name])
    return results


async def _run_check(check: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
    """Run a check; an exception or a timeout is a failure.

    The error itself is only logged: the endpoint needs no login.
    """
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT_SECONDS)
    except TimeoutError:
        return CheckResult(
            ok=False, message=f"No answer within {CHECK_TIMEOUT_SECONDS:g} s."
        )
    except Exception as error:
        if outage := outages.of(error):
            outage.report_failure(error)
        else:
            logger.exception("A health check failed.")
        return CheckResult(
            ok=False, message="Failed or cannot be reached; see the log."
        )


def _database() -> CheckResult:
    """Update no row: the database has to be writable."""
    try:
        Worker.objects.filter(name="").update(running=0)
    except DatabaseError as error:
        if not outages.is_stuck(error):
            raise
        logger.error("Database refuses writes: %s", error)  # noqa: TRY400 - an outage
        message = "The database refuses writes: it is read-only or its disk is full."
        return CheckResult(ok=False, message=message)
    outages.database.report_success()
    return CheckResult(ok=True, message="The database answers.")


def _disk() -> CheckResult:
    """Check the free space for uploads, and for the database if it is SQLite."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    room = f"{free / 1_000_000:,.0f} MB are free in DATA_DIR"
    if free < MIN_FREE_BYTES:
        least = f"{MIN_FREE_BYTES / 1_000_000:,.0f} MB"
        message = f"Only {room}; at least {least} are needed. Make room."
        return CheckResult(ok=False, message=message)
    return CheckResult(ok=True, message=f"{room}.")


def migrations() -> CheckResult:
    """Check that no migration is missing, nor a trigger that migrations create."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        message = f"{len(missing)} are missing: run `manage.py prepare`."
        return CheckResult(ok=False, message=message)
    if lost := triggers.missing():
        message = (
            f"{len(lost)} triggers of the outbox are missing: run `manage.py prepare`."
        )
        return CheckResult(ok=False, message=message)
    return CheckResult(ok=True, message="All are applied.")


async def _messages() -> CheckResult:
    """Send a message to an own channel and wait for it."""
    layer = get_channel_layer()
    if layer is None:
        return CheckResult(ok=False, message="No channel layer is configured.")
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "health.check"})
    await layer.receive(channel)
    outages.messages.report_success()
    return CheckResult(ok=True, message="Messages arrive.")


def _workers() -> CheckResult:
    if alive := workers.alive().count():
        return CheckResult(ok=True, message=f"Workers alive: {alive}.")
    message = "None is alive: runs wait until `manage.py worker` is started."
    return CheckResult(ok=False, message=message)


async def _threads() -> CheckResult:
    """Check that sync nodes of this process find threads."""
    counts = threads.pool.counts
    if threads.pool.is_exhausted:
        message = (
            f"{counts.abandoned} threads of nodes that timed out still work, and sync"
            " nodes wait for them. Restart the process."
        )
        return CheckResult(ok=False, message=message)
    message = f"Sync nodes running: {counts.running}, waiting: {counts.waiting}."
    return CheckResult(ok=True, message=message)


CHECKS: dict[str, Callable[[], Awaitable[CheckResult]]] = {
    "database": sync_to_async(_database),
    "migrations": sync_to_async(migrations),
    "disk": sync_to_async(_disk),
    "messages": _messages,
    "workers": sync_to_async(_workers),
    "threads": _threads,
}
