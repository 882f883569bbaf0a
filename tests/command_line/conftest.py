"""The command line against the application, in one process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.test.client import ClientHandler
from typer.testing import CliRunner

from signalbox.main import app
from signalbox.session import Session

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SERVER = "http://localhost"


class InProcess(httpx.BaseTransport):
    """Sends requests to the application, on the connection of the test."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.before: Callable[[httpx.Request], object] = lambda _: None
        self._handler = ClientHandler(enforce_csrf_checks=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response of the application; `before` may change rows or raise."""
        self.requests.append(request)
        self.before(request)
        body = request.read()
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.url.path,
            "QUERY_STRING": request.url.query.decode(),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }
        for name, value in request.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        response: Any = self._handler(environ)
        content = (
            b"".join(response.streaming_content)
            if response.streaming
            else response.content
        )
        return httpx.Response(
            response.status_code, headers=dict(response.items()), content=content
        )


@dataclass
class Shell:
    """Executes commands as a person with a token."""

    transport: InProcess
    waits: list[float]

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Return the standard output of a command, which exits with a code."""
        session = Session(transport=self.transport, sleep=self.waits.append)
        done = CliRunner().invoke(app, list(arguments), input=stdin, obj=session)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        self.errors = done.stderr
        assert "sbx_" not in done.output
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Return what a command prints with --json."""
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def shell(
    admin: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> Shell:
    """Return a shell with SIGNALBOX_URL and SIGNALBOX_TOKEN of a superuser."""
    from workflows.access import tokens

    settings.RATES = dict.fromkeys(settings.RATES, 0)
    _, secret = tokens.create(admin, "cli", by=admin, scopes=["admin"])
    monkeypatch.setenv("SIGNALBOX_URL", SERVER)
    monkeypatch.setenv("SIGNALBOX_TOKEN", secret)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Shell(InProcess(), [])
