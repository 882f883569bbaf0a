"""Processes of Python whose libraries are loaded already, so that they start in half the time.

A fork server imports the libraries once and forks for each command. What depends on the
environment (settings, models, our modules) is loaded by the new process, as by any other.
It differs from a process that was executed in its command line in /proc, and in the variables that
Python reads at its start: of these, PYTHONPATH alone is applied.

The idea is that of the start method `forkserver` of multiprocessing, whose processes call a
function instead of running a command.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02

# None of them needs settings. Names that cannot be imported are an error of this list.
LIBRARIES = (
    "asyncio",
    "cryptography.fernet",
    "cryptography.x509",
    "django.contrib.staticfiles",
    "django.core.management",
    "django.db.models",
    "django.forms",
    "django.template",
    "django.views.generic",
    "httpx",
    "jinja2",
    "jsonschema",
    "markdown_it",
    "psycopg",
    "psycopg_pool",
    "pydantic",
    "pydantic_settings",
    "redis.asyncio",
    "uvicorn",
)


class ForkedProcess:
    """A process of the fork server, with the methods of subprocess.Popen that tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        """Take a process that was just started."""
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        if self.returncode is None:
            self.returncode = self._server.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """A process that forks for each command; it ends with the process that started it."""

    def __init__(self) -> None:
        """Start it; it loads the libraries while the caller continues."""
        self._lock = threading.Lock()
        self._exit_codes: dict[int, int] = {}
        self._buffer = b""
        left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "DJANGO_SETTINGS_MODULE"}
        environment = {k: v for k, v in os.environ.items() if k not in left_out}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        atexit.register(self._stop)

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()  # closes the pipes

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> ForkedProcess:
        """Start `manage.py …` or `-m module …`, whose output is appended to files."""
        command = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "output": str(output),
            "errors": str(errors or output),
        }
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            while (pid := self._read(block=True)) is None:
                pass
        return ForkedProcess(self, pid)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a process, or None while it runs."""
        with self._lock:
            self._read(block=False)
            return self._exit_codes.get(pid)

    def _read(self, *, block: bool) -> int | None:
        """Take the lines that the server wrote; return the process it has started, if any."""
        assert self._process.stdout is not None
        if block or select.select([self._process.stdout], [], [], 0)[0]:
            read = os.read(self._process.stdout.fileno(), 65536)
            assert read, "the fork server has ended: see its error above"
            self._buffer += read
        *lines, self._buffer = self._buffer.split(b"\n")
        started = None
        for line in lines:
            message = json.loads(line)
            if message["code"] is None:
                started = message["pid"]
                self._exit_codes.pop(started, None)  # of an earlier process
            else:
                self._exit_codes[message["pid"]] = message["code"]
        return started


@cache
def _server() -> ForkServer:
    return ForkServer()


def start(arguments: Sequence[str], **options: Any) -> ForkedProcess:
    """Start a command by the fork server of this process; see ForkServer.start."""
    return _server().start(arguments, **options)


def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises subprocess.TimeoutExpired, after killing it."""
    with TemporaryDirectory(prefix="command-") as directory:
        output, errors = Path(directory, "output"), Path(directory, "errors")
        process = start(
            arguments, environment=environment, output=output, errors=errors
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        texts = (output.read_text(), errors.read_text())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def _serve() -> dict[str, Any] | None:
    """Fork for each command; return the command in the new process, None in the server."""
    for name in LIBRARIES:
        import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report(pid: int, code: int | None) -> None:
        os.write(1, json.dumps({"pid": pid, "code": code}).encode() + b"\n")

    def reap(*_: Any) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                report(found[0], os.waitstatus_to_exitcode(found[1]))

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        # A process that ends at once is reported after its start.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            command: dict[str, Any] = json.loads(line)
            return command
        report(pid, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    return None


def _execute(command: dict[str, Any]) -> None:
    """Become the command."""
    os.environ.clear()
    os.environ.update(command["environment"])
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in added if path]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "output"), (2, "errors")):
        file = os.open(command[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    arguments = command["arguments"]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    if command := _serve():
        _execute(command)
