"""The command line as processes, against a real server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from project.env import ROOT
from tests.support import fork_server
from tests.support.crafted_pdfs import many_pages
from tests.support.servers import (
    SECRET_KEY,
    RunningServer,
    copy_prepared,
    free_port,
    own_environment,
    running_server,
    wait_for_port,
)
from workflows.access.tokens import digest_of

SECRET = "sbx_" + "a" * 43
TIMEOUT_SECONDS = 60
LAUNCH = ("launch", "count-lines")
REASON = ("--reason", "Checked.")


def add_token(database: Path) -> None:
    """Add a token of the account `admin` to a prepared database."""
    now = "2026-01-01 00:00:00"
    row = ("tests", SECRET[:8], digest_of(SECRET), '["admin"]', "[]", now, "")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO workflows_apitoken (owner_id, name, hint, digest, scopes,"
            " workflows, created_at, last_used_address) SELECT id, ?, ?, ?, ?, ?, ?, ?"
            " FROM auth_user WHERE username = 'admin'",
            row,
        )


@dataclass
class Commands:
    """Executes the command line as a user would."""

    server: RunningServer

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; it is killed at the end, if it has not ended."""
        names = {"SIGNALBOX_URL": self.server.url, "SIGNALBOX_TOKEN": SECRET}
        with subprocess.Popen(
            [sys.executable, "-m", "signalbox", *arguments],
            cwd=ROOT,
            env={**own_environment(self.server.log.parent), **names},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Return the standard output of a command, which exits with a code."""
        with self.started(*arguments) as process:
            out, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == code, errors
        assert SECRET not in out + errors
        return out


@contextmanager
def served(home: Path) -> Iterator[Commands]:
    """Give the command line, with a token, and a server with an embedded worker."""
    copy_prepared(home)
    add_token(home / "db.sqlite3")
    app = {"MCP": "1", "WORKFLOW_APPS": "tests.command_line.app"}
    with running_server(home, **app, LOG_LEVEL="WARNING") as server:
        yield Commands(server)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Give a server that the tests of this module share."""
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


async def decisions_over_mcp(commands: Commands, run: str) -> list[str]:
    """Return the targets of a run's edges, as a client of the protocol receives them."""
    headers = {"Authorization": f"Bearer {SECRET}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(
            streamable_http_client(commands.server.url + "mcp", http_client=http)
        ) as c,
    ):
        found: Any = await c.call_tool("explain_decisions", {"run": run, "sequence": 2})
    return [one["to_node"] for one in found.structured_content["result"]]


def test_a_run_is_launched_followed_answered_and_interrupted(
    commands: Commands,
) -> None:
    launched = commands.run(*LAUNCH, "--param", "lines=2", "--follow", "--json", code=3)
    run: Any = json.loads(launched)
    assert run["waiting"]["kind"] == "approval"
    with commands.started("logs", run["id"], "-f", "--json") as logs:
        assert logs.stdout is not None
        assert json.loads(logs.stdout.readline())["message"] == "line 0"
        commands.run(*("respond", run["id"], "--value", "outcome=publish"), *REASON)
        out = logs.stdout.read()  # `communicate` would drop what is buffered
        assert logs.wait(TIMEOUT_SECONDS) == 0
    messages = [json.loads(line)["message"] for line in out.splitlines()]
    assert messages == ["line 1", "the last line"]
    assert "is completed" in commands.run("show", run["id"])

    assert asyncio.run(decisions_over_mcp(commands, run["id"])) == ["finish"]

    second = json.loads(commands.run(*LAUNCH, "--wait", "--json", code=3))
    with commands.started("logs", second["id"], "-f") as logs:
        assert logs.stdout is not None
        logs.stdout.readline()
        logs.send_signal(signal.SIGINT)
        assert logs.wait(TIMEOUT_SECONDS) == 130


@pytest.mark.slow
def test_a_shutdown_ends_streams_and_their_clients_connect_again(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as commands:
        run = json.loads(commands.run(*LAUNCH, "--wait", "--json", code=3))
        with commands.started("logs", run["id"], "-f") as logs:
            assert logs.stdout is not None
            logs.stdout.readline()
            assert commands.server.stop() == 0
            assert logs.stderr is not None
            assert "Connecting again" in logs.stderr.readline()
        assert "graceful shutdown exceeded" not in commands.server.log.read_text()


def test_the_examples_of_the_documentation_run(
    commands: Commands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "order.pdf").write_bytes(many_pages(1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNALBOX_URL", commands.server.url)
    monkeypatch.setenv("SIGNALBOX_TOKEN", SECRET)
    page = (ROOT / "docs" / "integrating.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "integrating"}
    for example in examples:
        exec(compile(example, "docs/integrating.md", "exec"), namespace)  # noqa: S102
    namespace["api"].close()
    printed = capsys.readouterr().out
    assert len(examples) == 3
    assert " → " in printed
    assert " taken" in printed


@pytest.mark.slow
def test_events_are_streamed_by_daphne_and_over_redis(
    tmp_path: Path, redis_url: str, migrated_url: str
) -> None:
    shared = {"REDIS_URL": redis_url, "DATABASE_URL": migrated_url}
    shared |= {"SECRET_KEY": SECRET_KEY, "WORKFLOW_APPS": "tests.command_line.app"}
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active,"
            " first_name, last_name, email, date_joined)"
            " VALUES ('admin', '', true, true, true, '', '', '', now())"
        )
        connection.execute(
            "INSERT INTO workflows_apitoken (owner_id, name, hint, digest, scopes,"
            " workflows, created_at, last_used_address) SELECT id, 'tests', 'sbx_', %s,"
            " '[\"admin\"]', '[]', now(), '' FROM auth_user",
            [digest_of(SECRET)],
        )
    port = free_port()
    environment = own_environment(tmp_path, **shared)
    daphne = ["-m", "daphne", "--port", str(port), "project.asgi:application"]
    with ExitStack() as stack:
        for command in (daphne, ["manage.py", "worker"]):
            process = fork_server.start(
                command, environment=environment, output=tmp_path / "log"
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        wait_for_port(port)
        server = RunningServer(f"http://127.0.0.1:{port}/", process, tmp_path / "log")
        commands = Commands(server)
        run = json.loads(commands.run(*LAUNCH, "--wait", "--json", code=3))
        with commands.started("logs", run["id"], "-f", "--json") as logs:
            assert logs.stdout is not None
            logs.stdout.readline()
            commands.run(*("respond", run["id"], "--value", "outcome=publish"), *REASON)
            out = logs.stdout.read()
            assert logs.wait(TIMEOUT_SECONDS) == 0
    messages = [json.loads(line)["message"] for line in out.splitlines()]
    assert messages == ["line 1", "line 2", "the last line"]
