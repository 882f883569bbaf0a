"""The Runtime of an item on a worker of the cluster.

Agents, images and the content of documents are requested from the process of the run, which
records the calls and counts them towards budgets. Pages are read here, from a copy.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

from workflows.cluster.document_copies import DocumentCopies
from workflows.documents import reader_pools
from workflows.runtime import (
    ImageInfo,
    NodeContext,
    Page,
    RenderOptions,
    Runtime,
    Tool,
    Unsupported,
)
from workflows.runtime.isolated import ChildRuntime, Sender
from workflows.runtime.records import DocumentInfo

# What an item may request, by part of the Runtime
REQUESTS: Final = {
    "agents": frozenset({"chat", "vision", "tools", "embed", "ask"}),
    "documents": frozenset({"add", "get", "read"}),
    "images": frozenset({"render"}),
}


class Requests(Sender, Protocol):
    """The way to the process of the run."""

    async def request(
        self, part: str, method: str, *values: Any, **options: Any
    ) -> Any:
        """Return what the part of the run's Runtime returns. Raises what it raises."""


def connect(given: ChildRuntime, context: NodeContext, requests: Requests) -> Runtime:
    """Return the Runtime of an item."""
    return replace(
        given.connect(context, requests),
        agents=RemoteAgents(requests),
        documents=RemoteDocuments(requests),
        images=RemoteImages(requests),
    )


@dataclass(frozen=True, slots=True)
class RemoteAgents:
    """The agents of the run."""

    requests: Requests

    async def chat(self, *values: Any, **options: Any) -> Any:
        """Return the complete response."""
        return await self.requests.request("agents", "chat", *values, **options)

    async def chat_stream(self, *values: Any, **options: Any) -> AsyncIterator[str]:
        """Yield the complete response at once: there is no stream from the run."""
        reply = await self.chat(*values, **options)
        yield reply.text

    async def vision(self, *values: Any, **options: Any) -> Any:
        """Return the response to a prompt with images."""
        return await self.requests.request("agents", "vision", *values, **options)

    async def tools(
        self, agent: str, prompt: Any, tools: Sequence[Tool], **options: Any
    ) -> Any:
        """Return the response; the functions of the tools stay here."""
        described = [replace(tool, function=None) for tool in tools]
        return await self.requests.request(
            "agents", "tools", agent, prompt, described, **options
        )

    async def embed(self, *values: Any, **options: Any) -> Any:
        """Return one vector per text."""
        return await self.requests.request("agents", "embed", *values, **options)

    async def ask(self, *values: Any, **options: Any) -> Any:
        """Return the response as a model."""
        return await self.requests.request("agents", "ask", *values, **options)


@dataclass(frozen=True, slots=True)
class RemoteImages:
    """The images of the run, rendered and stored there."""

    requests: Requests

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return the selected pages in page order."""
        images: tuple[ImageInfo, ...] = await self.requests.request(
            "images", "render", document, options
        )
        return images


@functools.cache
def copies() -> DocumentCopies:
    """Return the copies of this process."""
    return DocumentCopies()


@dataclass(frozen=True, slots=True)
class RemoteDocuments:
    """The documents of the run; their pages are read on this computer."""

    requests: Requests

    async def add(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> UUID:
        """Store a file of the run, made of a path of this computer or of a value."""
        if isinstance(content, PathLike):
            content = await asyncio.to_thread(Path(content).read_bytes)
        document: UUID = await self.requests.request(
            "documents", "add", name, content, content_type
        )
        return document

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the name, type and size."""
        info: DocumentInfo = await self.requests.request("documents", "get", document)
        return info

    async def read(self, document: UUID) -> bytes:
        """Return the content."""
        content: bytes = await self.requests.request("documents", "read", document)
        return content

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page."""
        count = await self._page_count(document)
        async with copies().opened(document, lambda: self.read(document)) as path:
            return tuple(
                [await reader_pools.text_of(path, page) for page in range(1, count + 1)]
            )

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, counted from 1."""
        await self._page_count(document)
        async with copies().opened(document, lambda: self.read(document)) as path:
            return await reader_pools.text_of(path, number)

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text recognized on a page image."""
        await self._page_count(document)
        async with copies().opened(document, lambda: self.read(document)) as path:
            return await reader_pools.read_page_image(path, number, enhanced=enhanced)

    async def _page_count(self, document: UUID) -> int:
        """Return the number of pages; a deleted document is refused, as in the run."""
        info = await self.get(document)
        if info.page_count is None:
            raise Unsupported(f"“{info.name}” has no pages that could be read.")
        return info.page_count
