"""`make dev`: serve, and restart when a Python file changes; an error is a page.

The server runs in a child process, so that a module that cannot be imported ends the child
only. Templates and static files need no restart (`DEBUG`). A restart is a shutdown like any
other: nodes get DRAIN_SECONDS, then their runs continue in the next process.
"""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Final

from project.env import ROOT, Environment

POLL_SECONDS: Final = 0.3  # between two checks of the files
DRAIN_SECONDS: Final = "2"  # unless it is set: nobody waits longer for an edit
IGNORED: Final = frozenset({"tests", "bench", "var", "node_modules", "__pycache__"})
OURS: Final = frozenset({"project", "workflows", "signalbox", *IGNORED})
READ_SECONDS: Final = 5.0  # for the rest of a child's errors, after its end
MAX_OUTPUT_CHARS: Final = 40_000  # of a child's errors
FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} · Signalbox</title>
<style>body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem }} pre {{ overflow: auto; padding: 1rem; background: color-mix(in srgb,
currentColor 7%, transparent); border-radius: 7px }} .error {{ font-size: 1.15rem }}
code {{ font-size: 0.95em }}</style></head>
<body><h1>{title}</h1>{body}
<p>Save the file: this page reloads by itself, and the server starts again.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the server did not start."""

    message: str  # the last line of the traceback
    place: str  # file and line of the author's code, "" if unknown
    output: str

    @classmethod
    def of(cls, output: str, root: Path = ROOT) -> Problem:
        """Return the problem that an error output describes."""
        lines = [line for line in output.strip().splitlines() if line.strip()]
        message = lines[-1].strip() if lines else "The server ended without a message."
        return cls(message, _culprit(output, root), output)

    def page(self) -> bytes:
        """Return the page."""
        escaped = html.escape(self.place)
        where = f"<p>In <code>{escaped}</code></p>" if self.place else ""
        body = (
            f'<p class="error"><strong>{html.escape(self.message)}</strong></p>{where}'
            f"<pre>{html.escape(self.output)}</pre>"
        )
        return PAGE.format(title="The server did not start", body=body).encode()


def _culprit(output: str, root: Path) -> str:
    """Return the last place in a traceback that is in a file of an author, else in ours."""
    places = [
        (Path(path), line)
        for path, line in FRAME.findall(output)
        if Path(path).is_relative_to(root) and ".venv" not in Path(path).parts
    ]
    inside = [(path.relative_to(root), line) for path, line in places]
    of_authors = [
        (path, line)
        for path, line in inside
        if path.parts[0] not in OURS or path.parts[:2] == ("workflows", "definitions")
    ]
    for path, line in reversed(of_authors or inside):
        return f"{path}, line {line}"
    return ""


def snapshot(root: Path = ROOT) -> dict[Path, int]:
    """Return the times of the Python files below a directory."""
    found: dict[Path, int] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name for name in folders if name not in IGNORED and not name.startswith(".")
        ]
        for name in files:
            if name.endswith(".py"):
                path = Path(folder, name)
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    continue  # an editor replaces it
    return found


def packages(root: Path = ROOT) -> list[str]:
    """Return the packages of authors next to `manage.py`: those with a `workflows.py`."""
    return sorted(
        path.parent.name
        for path in root.glob("*/workflows.py")
        if path.parent.name not in OURS and (path.parent / "__init__.py").exists()
    )


def environment(given: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """Return the environment of the server: what is set stays."""
    return {
        "DEBUG": "1",
        "DRAIN_SECONDS": DRAIN_SECONDS,
        "WORKFLOW_APPS": ",".join(packages(root)),
        **{name: value for name, value in given.items() if value},
    }


class Child:
    """The server's process; its errors are shown and kept."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._output = ""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--prepare"],
            cwd=ROOT,
            env=dict(values),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None  # noqa: S101 - a pipe, as asked for
        reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        reader.daemon = True
        reader.start()
        self._reader = reader

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                sys.stderr.write(line)
                self._output = (self._output + line)[-MAX_OUTPUT_CHARS:]

    @property
    def problem(self) -> Problem | None:
        """Return why it ended; None while it runs, and for an end without an error."""
        if not self.process.poll():
            return None
        self._reader.join(timeout=READ_SECONDS)
        return Problem.of(self._output)

    def stop(self) -> None:
        """Stop it gracefully: what it executes is finished or released."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self._reader.join(timeout=READ_SECONDS)


@contextmanager
def error_page(problem: Problem, host: str, port: int) -> Iterator[int]:
    """Show a problem at the address of the server while the block runs; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = problem.page()
            self.send_response(HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_GET  # noqa: N815 - the name that the library calls

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _wait_for_change(child: Child, before: Mapping[Path, int]) -> None:
    """Return when a file changes or the child ends by itself."""
    while snapshot() == before and child.process.poll() is None:
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Serve until Ctrl-C."""
    settings = Environment()
    try:
        while True:
            before = snapshot()
            child = Child(environment(os.environ))
            try:
                _wait_for_change(child, before)
            finally:
                problem = child.problem
                child.stop()
            if problem is not None:
                with error_page(problem, settings.host, settings.port):
                    while snapshot() == before:
                        time.sleep(POLL_SECONDS)
            elif snapshot() == before:
                return  # it was stopped
            sys.stderr.write("A file was changed: starting again.\n")
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
