"""Whether this process is up, and whether the service can do its work.

`/health/live` asks nothing of anybody: a process that does not answer it wants a restart.
`/health/pages` looks at what pages need: a balancer asks it of each web process.
`/health/ready` looks at everything a run needs, and says of each part how it is.
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

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_SECONDS = 8.0  # for one part to answer; more than a connection may take
MIN_FREE_BYTES = 100_000_000  # below that an upload or a checkpoint may not fit
NEED_DATABASE = {"migrations", "workers"}
PAGES = ("database", "migrations")  # what pages cannot do without


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part is, in a sentence."""

    ok: bool
    sentence: str


@require_safe
@never_cache
def live(_request: HttpRequest) -> JsonResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
async def pages(_request: HttpRequest) -> JsonResponse:
    """Say whether this process can answer pages: 200, else 503."""
    return _answer(await _run_checks(PAGES))


@require_safe
@never_cache
async def ready(_request: HttpRequest) -> JsonResponse:
    """Say of each part how it is: 200 when all are well, else 503."""
    return _answer(await _run_checks(CHECKS))


def _answer(findings: Mapping[str, Finding]) -> JsonResponse:
    ok = all(finding.ok for finding in findings.values())
    body = {
        "status": "ready" if ok else "not ready",
        "checks": {
            name: {"ok": finding.ok, "message": finding.sentence}
            for name, finding in findings.items()
        },
    }
    return JsonResponse(body, status=200 if ok else 503)


async def _run_checks(names: Iterable[str]) -> dict[str, Finding]:
    """Return what each check found; without a database some need not even try."""
    findings: dict[str, Finding] = {}
    for name in names:
        known = findings.get("database")
        if known is not None and not known.ok and name in NEED_DATABASE:
            findings[name] = Finding(ok=False, sentence="Only the database knows.")
        else:
            findings[name] = await _run_check(CHECKS[name])
    return findings


async def _run_check(check: Callable[[], Awaitable[Finding]]) -> Finding:
    """Return what a check found; a part that fails or hangs is not well.

    The log has the error itself: whoever asks here need not be signed in.
    """
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT_SECONDS)
    except TimeoutError:
        return Finding(
            ok=False, sentence=f"No answer within {CHECK_TIMEOUT_SECONDS:g} s."
        )
    except Exception as error:
        if outage := outages.of(error):
            outage.met(error)
        else:
            logger.exception("A health check failed.")
        return Finding(ok=False, sentence="It cannot be reached; the log says why.")


def _database() -> Finding:
    """Ask it for a change that changes nothing: it has to be writable."""
    try:
        Worker.objects.filter(name="").update(running=0)
    except DatabaseError as error:
        if not outages.is_stuck(error):
            raise
        logger.error("The database takes no changes: %s", error)  # noqa: TRY400 - an outage
        sentence = (
            "It answers, but takes no changes: it is read-only, or its disk is full."
        )
        return Finding(ok=False, sentence=sentence)
    outages.database.report_success()
    return Finding(ok=True, sentence="The database answers.")


def _disk() -> Finding:
    """Look at the room where uploads are kept, and the database if it is SQLite."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    room = f"{free / 1_000_000:,.0f} MB are free in DATA_DIR"
    if free < MIN_FREE_BYTES:
        least = f"{MIN_FREE_BYTES / 1_000_000:,.0f} MB"
        sentence = f"Only {room}; at least {least} are needed. Make room."
        return Finding(ok=False, sentence=sentence)
    return Finding(ok=True, sentence=f"{room}.")


def _migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        sentence = f"{len(missing)} are missing: run `manage.py prepare`."
        return Finding(ok=False, sentence=sentence)
    return Finding(ok=True, sentence="All are applied.")


async def _messages() -> Finding:
    """Send a message to ourselves and wait for it."""
    layer = get_channel_layer()
    if layer is None:
        return Finding(ok=False, sentence="No channel layer is configured.")
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "health.check"})
    await layer.receive(channel)
    outages.messages.report_success()
    return Finding(ok=True, sentence="Messages arrive.")


def _workers() -> Finding:
    if alive := workers.alive().count():
        return Finding(ok=True, sentence=f"Workers alive: {alive}.")
    sentence = "None is alive: runs wait until `manage.py worker` is started."
    return Finding(ok=False, sentence=sentence)


async def _threads() -> Finding:
    """Look whether sync nodes of this process find threads."""
    counts = threads.pool.counts
    if threads.pool.is_exhausted:
        sentence = (
            f"{counts.abandoned} threads of nodes that timed out still work, and sync"
            " nodes wait for them. Restart the process."
        )
        return Finding(ok=False, sentence=sentence)
    sentence = f"Sync nodes running: {counts.running}, waiting: {counts.waiting}."
    return Finding(ok=True, sentence=sentence)


CHECKS: dict[str, Callable[[], Awaitable[Finding]]] = {
    "database": sync_to_async(_database),
    "migrations": sync_to_async(_migrations),
    "disk": sync_to_async(_disk),
    "messages": _messages,
    "workers": sync_to_async(_workers),
    "threads": _threads,
}
