"""Items that a worker of a cluster can import, for the tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from tests.engine.sent_items import Sent, Task
from workflows.engine import Retry, node
from workflows.runtime import Runtime


class PageItem(BaseModel):
    """A page of a document."""

    document: UUID
    page: int


@node(timeout=60)
async def greet(task: Task, runtime: Runtime) -> Sent:
    """Log, ask an agent, and return the process."""
    runtime.logger.info("item %d has key %s", task.number, runtime.key)
    runtime.progress(task.number, 10, "items")
    reply = await runtime.agents.chat("helper", f"number {task.number}")
    assert reply.text == "hello"
    await runtime.documents.add(f"{task.number}.txt", reply.text)
    assert runtime.variables["town"] == "Ghent"
    return Sent(number=task.number, pid=os.getpid())


@node(retry=Retry(attempts=2, on=ConnectionError, wait=0))
async def wait_for_file(task: Task, runtime: Runtime) -> Sent:
    """Note the process in a file; return once another file exists."""
    directory = Path(task.directory)
    name = directory / f"began-{task.number}-{os.getpid()}"
    name.touch()
    while not (directory / f"go-{task.number}").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return Sent(number=task.number, pid=os.getpid())


@node
async def waits_for_ever(task: Task) -> Sent:
    """Note the start and the end in files."""
    directory = Path(task.directory)
    (directory / f"began-{task.number}").touch()
    try:
        await asyncio.sleep(3600)
    finally:
        (directory / f"ended-{task.number}").touch()
    return Sent(number=0, pid=0)


@node
async def fails(task: Task) -> Sent:
    """Raise an error."""
    raise ValueError(f"no {task.number}")


@node
async def read(item: PageItem, runtime: Runtime) -> str:
    """Return the words of a page."""
    page = await runtime.documents.page(item.document, item.page)
    return f"{os.getpid()} {page.text}"
