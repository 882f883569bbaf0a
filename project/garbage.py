"""Python's collector of cyclic garbage, set up for a process that runs for months.

A full collection looks at every object: half a second of standing still, once Django, the
workflows and their libraries are loaded. None of that is ever garbage.
"""

from __future__ import annotations

import gc

YOUNG = 10_000  # objects made before the youngest are looked at; Python's own is 700


def freeze_loaded_objects() -> None:
    """Never look again at what is there now; call it once, when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
