"""The allocator of a server or worker: few arenas, unless the operator chose a number."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from project.env import ROOT
from project.memory_allocator import ARENAS, limit_arenas

COUNT = """
import ctypes, sys, threading
from project.memory_allocator import limit_arenas

if sys.argv[1] == "limited":
    assert limit_arenas({})
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(12)

def allocate():
    together.wait()
    libc.malloc(50_000)  # Python has an allocator of its own for small objects
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(open(sys.argv[2]).read().count("<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_two_arenas(tmp_path_factory: pytest.TempPathFactory) -> None:
    def arenas(kind: str) -> int:
        report = tmp_path_factory.mktemp("malloc") / "info.xml"
        command = [sys.executable, "-c", COUNT, kind, str(report)]
        done = subprocess.run(
            command, cwd=ROOT, env={}, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert arenas("unlimited") > ARENAS
    assert arenas("limited") <= ARENAS


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_the_number_that_an_operator_chose_is_kept(name: str) -> None:
    assert not limit_arenas({name: "1"})
