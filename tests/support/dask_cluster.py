"""A Dask scheduler and its workers, as processes of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from project.env import ROOT

START_SECONDS = 60


class DaskProcesses:
    """A scheduler with workers of one thread each, which no nanny starts again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler, at the same address each time."""
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--no-dashboard",
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "the scheduler does not start"
                assert self.scheduler.poll() is None
                time.sleep(0.05)
            else:
                return self.scheduler

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker; the scheduler gives it items when it has connected."""
        worker = self._start(
            "worker",
            self.address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            str(self._directory),
        )
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Kill everything."""
        for process in (*self.workers, self.scheduler):
            kill(process)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        kept = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
        log = (self._directory / "dask.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env={**kept, "PYTHONPATH": str(ROOT)},
                cwd=self._directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started, and wait for its end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
