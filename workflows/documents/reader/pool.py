"""A pool of supervised child processes, each with one task at a time.

Guarantee: `run` returns the child's reply or raises a ProviderError with the reason; a
child that crashed, hung or exceeded its memory limit is gone by then, and the next one
starts fresh. Callers can be cancelled at any time: a child that works for a cancelled job
is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from workflows.documents.reader import pipe_protocol
from workflows.documents.reader.pipe_protocol import Head
from workflows.runtime import pdf_errors
from workflows.runtime.errors import ProviderError, Unavailable

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
MAX_ATTEMPTS = 2  # one crash may be accidental, two are caused by the file
EXIT_IDLE = 0  # exit code of an idle child
_OUT_OF_MEMORY_MESSAGES = (
    "MemoryError",
    "bad_alloc",
    "cannot allocate",
    "Cannot allocate",
)

Result = TypeVar("Result")


class ReaderCrashed(pdf_errors.PdfError):
    """The child process crashed while reading the file."""

    code = "pdf.reader_crashed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of a child."""

    seconds: float  # for one task
    memory_bytes: int
    idle_seconds: float  # then it exits
    niceness: int = 5  # pages and workers go first


@dataclass(frozen=True, slots=True)
class Task:
    """A task for a child."""

    name: str  # one of tasks.TASKS
    arguments: Head
    body: bytes = field(default=b"", repr=False)
    affinity: str = ""  # path that a child may have open; such a child is preferred
    seconds: float = 0.0  # 0: as long as the pool's limits say


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a child."""

    head: Head
    body: bytes = field(repr=False)


class Job:
    """A task in progress that any thread may cancel."""

    def __init__(self) -> None:
        """Begin without a child."""
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Cancel the job and kill the child that works on it."""
        with self._lock:
            self.cancelled = True
            if self._child is not None:
                self._child.kill()

    @contextmanager
    def assigned_to(self, child: _Child) -> Iterator[None]:
        """Assign the job to a child, so that `cancel` kills it. Raises Cancelled."""
        with self._lock:
            if self.cancelled:
                raise Cancelled
            self._child = child
        try:
            yield
        finally:
            with self._lock:
                self._child = None


class Cancelled(Exception):
    """The job was cancelled."""


class _Child:
    """A child process with one task at a time."""

    def __init__(self, limits: Limits) -> None:
        """Start the process with a minimal environment in its own session."""
        kept = {
            name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ
        }
        self.recent_paths: list[str] = []  # what it has open, newest last
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                "-m",
                "workflows.documents.reader",
                str(limits.memory_bytes),
                str(limits.idle_seconds),
                str(limits.niceness),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**kept, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"},
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise Unavailable("The program that reads files has no pipes.")
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def request(self, head: Head, body: bytes, seconds: float) -> Reply:
        """Return the reply. Raises ConnectionClosed, DeadlineExceeded."""
        deadline = time.monotonic() + seconds
        pipe_protocol.send(self._in, head, body, deadline=deadline)
        return Reply(*pipe_protocol.receive(self._out, deadline=deadline))

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def reap(self) -> int:
        """Kill the process if it runs, and return its exit code."""
        try:
            code = self._process.wait(0.2)  # it may be exiting
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code


class Pool:
    """At most `size` children of one kind, started on demand; idle ones exit."""

    def __init__(self, name: str, size: int, limits: Limits) -> None:
        """Take the name for the log, the maximum number of children, and their limits."""
        self.limits = limits
        self._name = name
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        # Threads for async callers; jobs waiting here occupy no child.
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=f"{name}-reader")

    def run(self, task: Task, job: Job | None = None) -> Reply:
        """Return the reply of a child to a task.

        1. Take a child, preferably one with `affinity` open, or start one.
        2. Replace one that exited because it was idle; replace one that crashed, once.
        3. Raise errors of the child as the same type here.

        Raises ProviderError, and Cancelled if `job` was cancelled.
        """
        job = job or Job()
        crashes = 0
        while crashes < MAX_ATTEMPTS:
            if job.cancelled:
                raise Cancelled
            with self._slots:
                reply = self._run_on(self._take(task.affinity), task, job)
            if isinstance(reply, Reply):
                return _checked_reply(reply)
            if reply != EXIT_IDLE:
                crashes += 1
                logger.warning("A %s reader ended over %s: %s", self._name, task, reply)
        raise ReaderCrashed(
            "The program that reads files crashed over this one, twice: it is damaged, "
            "or made to do harm. Save or print it as a new PDF."
        )

    async def run_async(self, task: Task) -> Reply:
        """Async version of `run`; cancellation kills the child."""
        job = Job()
        return await self.call(partial(self.run, task, job), job)

    async def call(self, call: Callable[[], Result], job: Job) -> Result:
        """Run a blocking function with a job on a thread; cancellation cancels the job."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            job.cancel()
            work.cancel()
            work.add_done_callback(_retrieve_exception)
            raise

    def close(self) -> None:
        """Kill the idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()
            child.reap()

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the idle children."""
        with self._lock:
            return [child.pid for child in self._idle if child.ended is None]

    def _take(self, affinity: str) -> _Child:
        with self._lock:
            for child in self._idle:
                if child.ended is not None:
                    child.reap()
            living = [child for child in self._idle if child.ended is None]
            if not living:
                self._idle = []
                return _Child(self.limits)
            close = [
                child for child in living if affinity and affinity in child.recent_paths
            ]
            taken = (close or living)[-1]
            self._idle = [child for child in living if child is not taken]
            return taken

    def _run_on(self, child: _Child, task: Task, job: Job) -> Reply | int:
        """Return the reply, or the exit code of a child without one."""
        limit = task.seconds or self.limits.seconds
        try:
            with job.assigned_to(child):
                reply = child.request(
                    {"task": task.name, **task.arguments}, task.body, limit
                )
        except (pipe_protocol.ConnectionClosed, ValueError):
            code = child.reap()
            if job.cancelled:
                raise Cancelled from None
            return code
        except BaseException as error:
            child.kill()
            child.reap()
            if not isinstance(error, pipe_protocol.DeadlineExceeded):
                raise
            raise pdf_errors.PageTooComplex(
                f"It takes longer than {limit:g} s to read, which no ordinary page does."
            ) from None
        recent = [one for one in child.recent_paths if one != task.affinity]
        child.recent_paths = [*recent, task.affinity][-3:]
        with self._lock:
            self._idle.append(child)
        return reply


def _checked_reply(reply: Reply) -> Reply:
    """Return the reply, or raise the error it contains."""
    kind = reply.head.get("error")
    if kind is None:
        return reply
    message = str(reply.head.get("message", ""))
    known = _errors().get(str(kind))
    if known is not None:
        raise known(message)
    if any(excuse in message for excuse in _OUT_OF_MEMORY_MESSAGES):
        raise pdf_errors.PageTooComplex(
            "It asks for more memory than we give one file, as no ordinary page does."
        )
    raise ReaderFault(f"The program that reads files made a mistake: {message}")


class ReaderFault(RuntimeError):
    """A bug in a child; the message contains the traceback."""


def _errors() -> dict[str, type[ProviderError]]:
    """Return every ProviderError type by name."""
    found: dict[str, type[ProviderError]] = {}
    waiting: list[type[ProviderError]] = [ProviderError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return found


def _retrieve_exception(work: asyncio.Future[Result]) -> None:
    """Retrieve the exception, so that asyncio does not log it as never retrieved."""
    if not work.cancelled():
        work.exception()
