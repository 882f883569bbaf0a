"""Reading what people upload, in processes of their own.

PDFium is native code that opens whatever it is given, and reading scans takes seconds of
every core. Neither happens in a process that serves pages or runs workflows: `Pool` keeps
a few child processes that do it, and survives whatever becomes of them.

    caller  →  Pool  →  child: `python -m workflows.documents.reader`
              frames of JSON and bytes; never pickle: a child that was taken over by a
              hostile file can answer nonsense, but make nobody run it

A child knows no Django, no database and no secret. One that crashes, hangs or asks for
too much memory is ended, and the caller told so in a sentence; one without work ends.
"""

from workflows.documents.reader.pool import Job, Limits, Pool, Reply, Task

__all__ = ["Job", "Limits", "Pool", "Reply", "Task"]
