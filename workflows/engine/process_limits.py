"""Child processes: their dependence on their parent, their limits, and how they ended."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
_OOM_SCORE = "1000"  # the highest: the kernel ends such a process before others
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """The end of a child process, as its parent observed it."""

    code: int  # exit code, or the negative number of the signal
    peak_bytes: int = 0  # of resident memory; 0 = not known
    is_peak_a_bound: bool = False  # the true peak is lower

    @property
    def cause(self) -> str:
        """The exit code or signal, such as “signal 9 (SIGKILL)”."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"signal {-self.code} ({signal.Signals(-self.code).name})"
        except ValueError:
            return f"signal {-self.code}"

    @property
    def memory(self) -> str:
        """The peak memory, such as “peak memory 1.2 GB”; "" if it is not known."""
        if not self.peak_bytes:
            return ""
        bound = "less than " if self.is_peak_a_bound else ""
        return f"peak memory {bound}{format_bytes(self.peak_bytes)}"

    def __str__(self) -> str:
        """Return the cause and the peak memory."""
        return f"{self.cause}; {self.memory}" if self.memory else self.cause


def bind_to_parent() -> None:
    """Let the kernel end this process with its parent, and before it when memory is short.

    More precisely with the thread that started it. Linux only: a pipe from the parent has
    to do the same, but code can keep it from being read.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):  # not in every sandbox
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """Kill the process group of a child that leads one; one that has ended is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def set_limit(kind: int, soft: int, hard: int) -> None:
    """Limit a resource of this process, such as RLIMIT_DATA; a lower limit stays."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def limit_memory(limit_bytes: int) -> None:
    """Limit the data of this process: more raises MemoryError, or ends the process.

    Effective on Linux. A core dump, which would contain the data, is not written.
    """
    set_limit(resource.RLIMIT_DATA, limit_bytes, limit_bytes)
    set_limit(resource.RLIMIT_CORE, 0, 0)


def peak_of_this_process() -> int:
    """Return the peak of resident memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def wait_for_end(pid: int, peak_before: int) -> ProcessEnd:
    """Wait for a child process and return how it ended; no other code may wait for it.

    `peak_before` is `peak_of_this_process` from before its start. A process takes the peak
    of its parent along when it is created, so that a lower one is not visible.
    """
    _, status, usage = os.wait4(pid, 0)
    peak = usage.ru_maxrss * _RSS_UNIT
    code = os.waitstatus_to_exitcode(status)
    return ProcessEnd(code, peak, is_peak_a_bound=peak <= peak_before)


def format_bytes(size: float) -> str:
    """Return a size with two significant digits or more: 1.2 GB, 340 MB."""
    for unit, name in _UNITS:
        if size >= unit:
            number = size / unit
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"  # noqa: PLR2004
    return f"{size:.0f} bytes"
