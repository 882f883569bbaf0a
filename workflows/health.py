"""Whether this process is up, and whether the service can do its work.

`/health/live` asks nothing of anybody: a process that does not answer it wants a restart.
`/health/ready` looks at everything a run needs, and says of each part how it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from workflows.execution import workers

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0  # for one part to answer


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
async def ready(_request: HttpRequest) -> JsonResponse:
    """Say of each part how it is: 200 when all are well, else 503."""
    findings = {name: await _look(check) for name, check in CHECKS.items()}
    ok = all(finding.ok for finding in findings.values())
    body = {
        "status": "ready" if ok else "not ready",
        "checks": {
            name: {"ok": finding.ok, "message": finding.sentence}
            for name, finding in findings.items()
        },
    }
    return JsonResponse(body, status=200 if ok else 503)


async def _look(check: Callable[[], Awaitable[Finding]]) -> Finding:
    """Return what a check found; a part that fails or hangs is not well.

    The log has the error itself: whoever asks here need not be signed in.
    """
    try:
        return await asyncio.wait_for(check(), PATIENCE_SECONDS)
    except TimeoutError:
        return Finding(ok=False, sentence=f"No answer within {PATIENCE_SECONDS:g} s.")
    except Exception:
        logger.exception("A health check failed.")
        return Finding(ok=False, sentence="It cannot be reached; the log says why.")


def _database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return Finding(ok=True, sentence="The database answers.")


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
    return Finding(ok=True, sentence="Messages arrive.")


def _workers() -> Finding:
    if alive := workers.alive().count():
        return Finding(ok=True, sentence=f"Workers alive: {alive}.")
    sentence = "None is alive: runs wait until `manage.py worker` is started."
    return Finding(ok=False, sentence=sentence)


CHECKS: dict[str, Callable[[], Awaitable[Finding]]] = {
    "database": sync_to_async(_database),
    "migrations": sync_to_async(_migrations),
    "messages": _messages,
    "workers": sync_to_async(_workers),
}
