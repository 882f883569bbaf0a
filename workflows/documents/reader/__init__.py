"""Reading of uploaded files in child processes.

PDFium is native code that opens untrusted files, and OCR uses all cores for seconds.
Neither runs in a process that serves pages or executes workflows: `Pool` manages a few
child processes for them and survives their failure.

    caller  →  Pool  →  child: `python -m workflows.documents.reader`
              frames of JSON and bytes, never pickle: a child compromised by a
              hostile file can return wrong data, but cannot execute code here

A child has no Django, database or secrets. One that crashes, hangs or exceeds its memory
limit is killed, and the caller gets an error; an idle one exits.
"""

from workflows.documents.reader.pool import Job, Limits, Pool, Reply, Task

__all__ = ["Job", "Limits", "Pool", "Reply", "Task"]
