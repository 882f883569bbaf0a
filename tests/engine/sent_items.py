"""Items that another process can import by name, for the tests of `parallel(…, on=…)`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import BaseModel

from workflows.engine import NodeContext, Retry, State, node
from workflows.engine.errors import ProcessDied
from workflows.runtime import Runtime


class Sent(BaseModel):
    """What came of an item, and the process that it ran in."""

    number: int
    pid: int


class Numbers(State):
    """The state of the tests."""

    numbers: tuple[int, ...] = ()
    results: tuple[Sent, ...] = ()
    directory: str = ""


class Task(BaseModel):
    """An item with a directory, through which it communicates with the test."""

    number: int
    directory: str


def tasks(state: Numbers) -> list[Task]:
    """Return the items."""
    return [Task(number=one, directory=state.directory) for one in state.numbers]


@node
def square(number: int) -> Sent:
    """Return the square."""
    return Sent(number=number**2, pid=os.getpid())


@node
def cube(number: int, runtime: Runtime) -> Sent:
    """Log, and return the third power."""
    runtime.logger.info("cube of %d by %s", number, runtime.key)
    return Sent(number=number**3, pid=os.getpid())


@node
def dies_on_two(number: int) -> Sent:
    """End the process, for the number 2."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Sent(number=number, pid=os.getpid())


@node(retry=Retry(attempts=2, on=ProcessDied, wait=0))
def dies_once(task: Task) -> Sent:
    """End the process in the first try."""
    path = Path(task.directory, f"tried-{task.number}")
    if not path.exists():
        path.touch()
        os._exit(7)
    return Sent(number=task.number, pid=os.getpid())


def hang(task: Task) -> Sent:
    """Start a process, store both ids, and never return."""
    sleeper = subprocess.Popen(["sleep", "600"])
    path = Path(task.directory, f"pids-{task.number}")
    path.with_suffix(".new").write_text(f"{os.getpid()} {sleeper.pid}")
    path.with_suffix(".new").rename(path)
    while True:
        time.sleep(600)


hangs = node(name="hangs")(hang)
times_out = node(name="times_out", timeout=5)(hang)


@node
def sends_too_much(number: int) -> Sent:
    """Leave a thread that logs, and write into the pipe of the process after its call."""
    for one in range(3, 32):
        try:
            os.set_blocking(one, False)
        except OSError:
            continue
    threading.Timer(0.05, write_everywhere).start()
    return Sent(number=number, pid=os.getpid())


def write_everywhere() -> None:
    """Write a false result into every pipe of the process."""
    for one in range(3, 32):
        try:
            os.write(one, b"R" + (4).to_bytes(8, "big") + b"\x80\x04N.")
        except OSError:
            continue


@node
def exits(number: int) -> Sent:
    """Raise SystemExit."""
    sys.exit(number)


@node
def unsendable(number: int) -> object:
    """Return what cannot be pickled."""
    return threading.Lock() if number else Sent(number=0, pid=0)


@node
async def waits(number: int) -> Sent:
    """Be async."""
    return Sent(number=number, pid=os.getpid())


def plain(number: int) -> int:
    """Return the number; not a node."""
    return number


def context_of(item: int) -> NodeContext:
    """Return the context of an item."""
    from workflows.engine import Cancellation, SystemClock

    return NodeContext("run", "squares", 1, 1, Cancellation(), SystemClock(), item=item)


@node
def dies_until_mended(task: Task) -> Sent:
    """Count its calls in files; end the process for the number 2 until a file says otherwise."""
    directory = Path(task.directory)
    calls = len([*directory.glob(f"call-{task.number}-*")])
    (directory / f"call-{task.number}-{calls + 1}").touch()
    if task.number == 2 and not (directory / "live").exists():
        os._exit(7)
    return Sent(number=task.number, pid=os.getpid())
