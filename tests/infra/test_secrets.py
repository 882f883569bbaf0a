"""Keys and tokens are used, and appear nowhere: no row, log, event, page or export."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import URLPattern, reverse

from tests.agents.test_agent_calls import registry, system
from tests.support.agent_rows import KEY, make_agent
from tests.support.openai_server import Answer, ModelServer, failing
from tests.support.responses import text_of
from tests.support.workers import ended, working
from workflows.agents.provider_api import service
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import Agent, Run
from workflows.pages.urls import urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "token-of-one-launch-0815"
SECRETS = (KEY, TOKEN)
OK = 200
ANSWERS = {OK, 302, 404, 405}  # of a page, or of an address without one
OF_A_RUN = ("run", "run-steps", "run-log", "run-result")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(service, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(service, "JITTER_SECONDS", 0.0)
    with ModelServer() as running:
        make_agent(running)
        yield running


def everything_stored() -> str:
    """Return every value of every table, as the database gives it."""
    parts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - its own name
            parts += [f"{table} {_plain(row)}" for row in cursor.fetchall()]
    return "\n".join(parts)


def _plain(row: tuple[Any, ...]) -> str:
    return " ".join(
        bytes(value).decode(errors="replace")
        if isinstance(value, bytes | memoryview)
        else str(value)
        for value in row
    )


def everything_shown(admin: User, runs: list[Run]) -> str:
    """Return every page, admin page and export, of all there is."""
    page = Client()
    page.force_login(admin)
    statuses, whole_ones = {}, []
    for path in {*pages_of(runs), *admin_pages()}:
        answer = page.get(path)
        statuses[path] = answer.status_code
        text = text_of(answer)  # also frees the slot of a download
        if answer.status_code == OK:
            whole_ones.append(text)
    odd = {path: code for path, code in statuses.items() if code not in ANSWERS}
    assert odd == {}
    assert len(whole_ones) > len(runs) * len(OF_A_RUN)
    dumped = io.StringIO()
    call_command("dumpdata", "workflows", stdout=dumped)
    return "\n".join([*whole_ones, dumped.getvalue()])


def pages_of(runs: list[Run]) -> Iterator[str]:
    """Yield the address of every page there is: for each run, and for the first rows."""
    agent = Agent.objects.get()
    given: dict[str, Any] = {
        "name": runs[0].workflow_name,
        "kind": "csv",
        "sequence": 1,
        "agent_id": agent.pk,
        "provider_id": agent.provider_id,
    }
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        names = pattern.pattern.converters
        for run in runs if "run_id" in names else runs[:1]:
            known = {**given, "run_id": run.pk}
            if pattern.name and names.keys() <= known.keys():
                yield reverse(pattern.name, kwargs={n: known[n] for n in names})
    yield from (f"/runs/export.{kind}" for kind in ("jsonl", "json"))


def admin_pages() -> Iterator[str]:
    """Yield the list and each row of every model in admin."""
    for model in site._registry:  # noqa: SLF001 - Django names no other way
        kind = f"{model._meta.app_label}_{model._meta.model_name}"  # noqa: SLF001
        yield reverse(f"admin:{kind}_changelist")
        for row in model._default_manager.all():  # noqa: SLF001
            yield reverse(f"admin:{kind}_change", args=[row.pk])


async def heard(channel: str) -> str:
    """Return all messages that wait on a channel."""
    layer = get_channel_layer()
    assert layer is not None
    messages = []
    while True:
        try:
            async with asyncio.timeout(0.05):
                messages.append(await layer.receive(channel))
        except TimeoutError:
            return json.dumps(messages)


async def test_secrets_do_not_appear_in_any_output(
    server: ModelServer, admin: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "openai"):
        caplog.set_level(logging.DEBUG, name)
    known, echo = f"Who is {KEY}?", f"Who are {KEY} and {TOKEN}?"
    layer = get_channel_layer()
    assert layer is not None
    channel = await layer.new_channel()
    await layer.group_add(notifications.PAGES, channel)
    runs = []
    async with working(registry):
        for token, answers in (
            ("", [Answer("Fine."), Answer("Once upon a time.")]),
            (TOKEN, [Answer("Fine."), Answer("Once upon a time.")]),
            ("", [failing(401, known)]),
            (TOKEN, [failing(401, echo)]),
            (TOKEN, [failing(503, echo)] * 4),
            (TOKEN, [Answer(raw=f"no json {echo}".encode())]),
            (TOKEN, [Answer("Fine."), failing(400, echo)]),
        ):
            server.script(*answers)
            run = await run_in_db(system.execute, "greeting", token=token)
            runs.append(await ended(run.pk))
    assert {run.status for run in runs} == {"completed", "failed"}
    used = {request.headers["authorization"] for request in server.requests}
    assert used == {f"Bearer {KEY}", f"Bearer {TOKEN}"}
    seen = {
        "rows": await run_in_db(everything_stored),
        "pages": await run_in_db(everything_shown, admin, runs),
        "events": await heard(channel),
        "log": caplog.text,
    }
    assert "•••" in seen["rows"]  # the refusals were recorded
    assert str(runs[0].pk) in seen["events"]
    assert "greeting" in seen["pages"]
    found = [
        (where, secret)
        for where, text in seen.items()
        for secret in SECRETS
        if secret in text
    ]
    assert found == []
    assert all(run.secrets is None for run in runs)
