"""Nodes that a child process can import by name, for the tests of isolation."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflows.engine import Failed, Isolation, Retry, State, node, resource
from workflows.runtime import Runtime


class Case(State):
    """The state of the tests."""

    how: str = ""
    path: str = ""
    pid: int = 0
    numbers: tuple[int, ...] = ()


class Unpicklable(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")
        self.lock = threading.Lock()


@node(isolate=True)
def work(state: Case, runtime: Runtime) -> Case:
    """Log, and return the process id, the state and the secret of the node."""
    runtime.logger.info("%d numbers in %s", len(state.numbers), runtime.key)
    assert state.secret("token") in {"", "s3cret"}
    return state.set(pid=os.getpid()).append("numbers", 4)


def end_process(state: Case) -> None:
    """End the process."""
    if state.how == "crash":
        ctypes.string_at(0)
    if state.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(state.how))


@node(isolate=True)
def dies(state: Case) -> Case:
    """End the process."""
    end_process(state)
    return state


@node(isolate=True)
def misbehaves(state: Case, runtime: Runtime) -> Any:
    """Raise or return something unusual."""
    if state.how == "unpicklable error":
        raise Unpicklable("this", "that")
    if state.how == "unpicklable result":
        return threading.Lock()
    if state.how == "exit":
        sys.exit(3)
    if state.how == "failed":
        raise Failed("no number", output=state.set(pid=1))
    if state.how == "agents":
        return runtime.agents.chat
    if state.how == "closed pipes":
        os.closerange(0, 100)
    return state


@node(isolate=Isolation(memory_mb=200))
def fills_memory(state: Case) -> Case:
    """Use more memory than allowed."""
    return state.set(numbers=(len(bytearray(500_000_000)),))


@node(isolate=Isolation(cpu_seconds=1))
def burns(state: Case) -> Case:
    """Use more CPU time than allowed."""
    while True:
        pass


@node(isolate=True, retry=Retry(attempts=2, wait=0))
def dies_once(state: Case) -> Case:
    """End the process in the first try."""
    file = Path(state.path)
    if not file.exists():
        file.touch()
        os._exit(3)
    return state.set(pid=os.getpid())


def start_helper(path: str) -> None:
    """Write the ids of this process and of one that it starts."""
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    part = Path(f"{path}.part")
    part.write_text(f"{os.getpid()} {helper.pid}")
    part.rename(path)


@node(isolate=True)
def hangs(state: Case) -> Case:
    """Start another process and ignore everything but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_helper(state.path)
    while True:
        time.sleep(60)


@node(isolate=True, timeout=5)
def hangs_beyond_its_timeout(state: Case) -> Case:
    """The same with a timeout."""
    start_helper(state.path)
    while True:
        time.sleep(60)


@node(isolate=True, heartbeat=20)
def reports(state: Case, runtime: Runtime) -> Case:
    """Report progress twice."""
    runtime.progress(1, 3, "pages")
    runtime.progress(2, 3, "pages")
    return state


@node(isolate=True)
def reads_variables(state: Case, runtime: Runtime) -> Case:
    """Read a variable and a secret."""
    text = f"{runtime.variables['smtp_host']} {runtime.secrets['bank']}"
    return state.set(path=text)


@resource
def a_resource() -> Iterator[int]:
    """Yield a number."""
    yield 1


@node(isolate=True)
def gets_a_resource(state: Case, runtime: Runtime) -> Case:
    """Get what only the process of the run has."""
    return state.set(pid=runtime.get(a_resource))
