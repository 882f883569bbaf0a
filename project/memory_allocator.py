"""Configure the allocator of the C library for a long-running process with many threads.

Each request is rendered in a thread of its own, and glibc gives each new thread another
arena, up to eight per core. The peak of a request remains in its arena as free memory that
other threads do not use, so that a process grows until each arena has had its largest
request.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any, Final

ARENAS: Final = 2
M_ARENA_MAX: Final = -8  # of malloc.h
OWN: Final = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")  # an operator's choice is kept


def limit_arenas(environment: Mapping[str, str] = os.environ) -> bool:
    """Limit the arenas of this process; return whether glibc accepted it.

    Call it before threads start: existing arenas remain. Other C libraries have no
    arenas.
    """
    if any(name in environment for name in OWN):
        return False
    try:
        mallopt: Any = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; Windows has no CDLL(None)
        return False
    return bool(mallopt(M_ARENA_MAX, ARENAS))
