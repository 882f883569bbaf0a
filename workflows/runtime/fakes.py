"""Fakes of the Runtime for tests of workflows: no database, files or network.

    documents = FakeDocuments()
    memo = documents.add("memo.pdf", ["SECRET\\nThe plan.\\nSECRET"])
    runtime = FakeRuntime(documents=documents)
    ... run the workflow with document=memo ...
    assert "published" in runtime.logger.text

A fake behaves like the real part: an unknown document or page raises NotFound.
"""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, overload
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ValidationError

from workflows.engine.threads import is_node_thread
from workflows.runtime.conversations import (
    Prompt,
    Reply,
    Tool,
)
from workflows.runtime.errors import (
    Invalid,
    NotFound,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)
from workflows.runtime.made_files import NewFile
from workflows.runtime.page_ranges import pages_of
from workflows.runtime.protocols import Answer, NodeContext, Result, Runtime
from workflows.runtime.records import (
    Box,
    DocumentInfo,
    ImageInfo,
    Line,
    Page,
    Progress,
    PromptProfile,
    Word,
)
from workflows.runtime.renderings import RenderOptions

_LETTER_POINTS = (612.0, 792.0)
_LINES_ON_A_PAGE = 60
MAX_FAKE_PAGES = 10_000


def page_of(text: str, number: int = 1) -> Page:
    """Return a page that shows the text, line by line from the top margin.

    An empty line takes up space, so a marking after many of them is at the foot.
    """
    rows = text.split("\n")
    step = 0.94 / max(len(rows), _LINES_ON_A_PAGE)
    lines = [
        _line_of(row, 0.03 + step * at, step * 0.7)
        for at, row in enumerate(rows)
        if row.strip()
    ]
    return Page(number, *_LETTER_POINTS, tuple(lines))


def _line_of(row: str, top: float, height: float) -> Line:
    """Return the row's words side by side; a letter is 0.008 of the page wide."""
    words: list[Word] = []
    left = 0.1
    for text in row.split(" "):
        right = left + 0.008 * len(text)
        if text:
            words.append(Word(text, Box(left, top, right, top + height)))
        left = right + 0.008
    return Line(tuple(words))


class FakeDocument(UUID):
    """The id of a file made without a run: by a test, or by a node that a test calls itself.

    A node awaits it.
    """

    def __await__(self) -> Generator[Any, None, UUID]:
        """Return the id."""
        yield from ()
        return UUID(int=self.int)


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that a node made."""

    id: UUID
    name: str
    content: bytes
    content_type: str
    node: str  # "" outside of a run


class FakeDocuments:
    """Documents kept in memory; `reads` lists the pages that were read, `made` the files made."""

    def __init__(self) -> None:
        self.reads: list[tuple[UUID, int | None]] = []  # document, page (None: all)
        self.made: list[MadeFile] = []
        self._infos: dict[UUID, DocumentInfo] = {}
        self._pages: dict[UUID, tuple[Page, ...]] = {}
        self._bytes: dict[UUID, bytes] = {}
        self._scans: dict[tuple[UUID, int, bool], tuple[Page, ...]] = {}

    @overload
    def add(
        self,
        name: str,
        content: str | bytes | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> FakeDocument: ...

    @overload
    def add(
        self, name: str, pages: Sequence[str | Page] = (), *, data: bytes = b""
    ) -> UUID: ...

    def add(
        self,
        name: str,
        pages: Sequence[str | Page] | bytes | PathLike[str] = (),
        content_type: str | None = None,
        *,
        data: bytes = b"",
    ) -> UUID:
        """Add a document with its pages as text or Page; return its id.

        The same name gives the same id in every test. With a text, bytes or a path in place of
        a list of pages it makes a file, as in a node.
        """
        if isinstance(pages, str | bytes | PathLike):
            return self.make("", NewFile.of_values("", name, pages, content_type))
        document = uuid5(NAMESPACE_URL, name)
        self._pages[document] = tuple(
            page if isinstance(page, Page) else page_of(page, number)
            for number, page in enumerate(pages, start=1)
        )
        self._bytes[document] = data
        self._infos[document] = DocumentInfo(
            document, name, len(pages), "application/pdf", len(data)
        )
        return document

    def make(self, key: str, new: NewFile) -> FakeDocument:
        """Add a file that the step with this key made, once. Raises Duplicate, Invalid."""
        made = uuid5(NAMESPACE_URL, f"{key}\n{new.name}")
        content = _content_of(new)
        if self._bytes.setdefault(made, content) != content:
            raise new.differs()
        if made not in self._infos:
            size, kind = len(content), new.content_type
            self._infos[made] = DocumentInfo(made, new.name, None, kind, size)
            self.made.append(MadeFile(made, new.name, content, kind, new.node))
        return FakeDocument(int=made.int)

    def _pages_of(self, document: UUID) -> tuple[Page, ...]:
        info = _lookup(self._infos, document)
        if info.page_count is None:
            raise Unsupported(f"“{info.name}” has no pages that could be read.")
        return self._pages[document]

    def at(self, context: NodeContext) -> NodeDocuments:
        """Return the documents for a node: `add` makes a file of its run."""
        return NodeDocuments(self, context)

    def add_scan(
        self, document: UUID, number: int, *variants: str | Page, enhanced: bool = False
    ) -> None:
        """Add the OCR variants of a page; without them, `scan` raises Unavailable."""
        self._scans[document, number, enhanced] = tuple(
            variant if isinstance(variant, Page) else page_of(variant, number)
            for variant in variants
        )

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the document's name, type and size."""
        return _lookup(self._infos, document)

    async def read(self, document: UUID) -> bytes:
        """Return the content."""
        return _lookup(self._bytes, document)

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return all pages."""
        self.reads.append((document, None))
        return self._pages_of(document)

    async def page(self, document: UUID, number: int) -> Page:
        """Return one page, counted from 1."""
        self.reads.append((document, number))
        pages = self._pages_of(document)
        if not 1 <= number <= len(pages):
            raise NotFound(f"There is no page {number}: it has {len(pages)}.")
        return pages[number - 1]

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the variants that were added. Raises Unavailable without any."""
        variants = self._scans.get((document, number, enhanced))
        if variants is None:
            raise Unavailable("Scans cannot be read here.")
        return variants


class NodeDocuments:
    """FakeDocuments in a node: what it makes is kept once per step and name."""

    def __init__(self, documents: FakeDocuments, context: NodeContext) -> None:
        self._context = context
        self.get, self.read = documents.get, documents.read
        self.pages, self.page = documents.pages, documents.page
        self.scan, self._make = documents.scan, documents.make

    async def add(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> UUID:
        """Make a file. Raises Duplicate, Invalid."""
        new = NewFile.of_values(self._context.node, name, content, content_type)
        return UUID(int=self._make(self._context.key, new).int)


def _content_of(new: NewFile) -> bytes:
    if isinstance(new.content, bytes):
        return new.content
    try:
        return Path(new.content).read_bytes()
    except OSError as error:
        raise new.unreadable(error.strerror) from error


Stored = TypeVar("Stored")


def _lookup(stored: Mapping[UUID, Stored], document: UUID) -> Stored:
    if document not in stored:
        raise NotFound(
            f"There is no document {document}: add it to FakeDocuments first."
        )
    return stored[document]


class FakeImages:
    """Images of one white pixel; `rendered` lists pages and options.

    It does not know the documents: pages default to the first one.
    """

    def __init__(self) -> None:
        self.rendered: list[tuple[UUID, int, RenderOptions]] = []

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return a white pixel for each page."""
        options = options or RenderOptions()
        pages = pages_of(options.pages or "1", MAX_FAKE_PAGES)
        return tuple([self.draw(document, page, options) for page in pages])

    def draw(self, document: UUID, page: int, options: RenderOptions) -> ImageInfo:
        """Return a white pixel for the page."""
        self.rendered.append((document, page, options))
        image = uuid5(document, f"{page} {options.style.key}")
        return ImageInfo(image, page, 1, 1, "image/png", _white_dot())


def _white_dot() -> bytes:
    """Return the smallest valid PNG: one white pixel."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(b"\x00\xff"),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@dataclass(frozen=True, slots=True)
class AgentCall:
    """One recorded call."""

    kind: str  # chat, chat_stream, vision, tools, embed or ask
    agent: str
    prompt: Prompt
    options: Mapping[str, Any]  # with the token, images or tools, where given


class FakeAgents:
    """Agents with scripted responses, in order; `calls` lists the calls.

    A response is a text, a list of ToolCall, a Reply, vectors, a model, or an exception to
    raise. `FakeAgents(["Yes."], writer=["No."])`: the default agent and one named “writer”.
    """

    def __init__(
        self, default: Sequence[Any] | None = None, /, **answers: Sequence[Any]
    ) -> None:
        self.calls: list[AgentCall] = []
        self._answers = {agent: list(given) for agent, given in answers.items()}
        if default is not None:
            self._answers[""] = list(default)

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the next response as a Reply."""
        return _reply(self._next("chat", agent, prompt, token, options))

    async def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncIterator[str]:
        """Yield the next response word by word."""
        text = _reply(self._next("chat_stream", agent, prompt, token, options)).text
        for piece in re.findall(r"\S+\s*|\s+", text):
            yield piece

    async def vision(
        self,
        agent: str,
        prompt: Prompt,
        images: Sequence[bytes | str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the next response. Raises Invalid without an image."""
        if not images:
            raise Invalid(f"The agent “{agent}” was called for images but got none.")
        return _reply(
            self._next("vision", agent, prompt, token, {**options, "images": images})
        )

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the next response: a list of calls, a text or a Reply with both."""
        given = self._next("tools", agent, prompt, token, {**options, "tools": tools})
        if isinstance(given, str | Reply):
            return _reply(given)
        return Reply("", model="fake", calls=tuple(given))

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return the next response, a list of vectors."""
        vectors = self._next("embed", agent, "\n".join(texts), token, options)
        return tuple(tuple(vector) for vector in vectors)

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the next response as that model; it is given as the model or its JSON."""
        given = self._next("ask", agent, prompt, token, options)
        if isinstance(given, answer):
            return given
        try:
            if isinstance(given, str):
                return answer.model_validate_json(given)
            return answer.model_validate(given)
        except ValidationError as error:
            raise UpstreamFailed(
                f"The agent “{agent}” did not answer as {answer.__name__}: {error}"
            ) from error

    def _next(
        self,
        kind: str,
        agent: str,
        prompt: Prompt,
        token: str | None,
        options: Mapping[str, Any],
    ) -> Any:
        """Record the call and return the next response, or raise it."""
        options_with_token = options if token is None else {**options, "token": token}
        self.calls.append(AgentCall(kind, agent, prompt, options_with_token))
        if agent not in self._answers:
            name = f"agent “{agent}”" if agent else "default agent"
            raise NotFound(f"There is no {name}: give FakeAgents its responses.")
        if not self._answers[agent]:
            raise UpstreamFailed(
                f"The agent “{agent}” was called more often than it has responses."
            )
        given = self._answers[agent].pop(0)
        if isinstance(given, Exception):
            raise given
        return given


def _reply(given: Any) -> Reply:
    return given if isinstance(given, Reply) else Reply(str(given), model="fake")


class FakeProfiles:
    """A profile given as prompt name → settings."""

    def __init__(self, **prompts: PromptProfile) -> None:
        self._prompts = prompts

    def prompt(
        self, name: str, /, default: PromptProfile | None = None
    ) -> PromptProfile:
        """Return the workflow's settings of a prompt, overridden field by field."""
        below = default or PromptProfile()
        above = self._prompts.get(name, PromptProfile())
        return replace(
            below,
            agent=above.agent or below.agent,
            prompt=above.prompt or below.prompt,
            options={**below.options, **above.options},
        )


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log line."""

    level: str
    message: str
    node: str = ""  # name of the node; "" outside of one


@dataclass(frozen=True)
class FakeLogger:
    """A log in memory, shared by the loggers of all nodes."""

    entries: list[LogEntry] = field(default_factory=list)
    node: str = ""

    def at(self, context: NodeContext) -> FakeLogger:
        """Return a logger for a node that writes to the same log."""
        return FakeLogger(self.entries, context.node)

    @property
    def text(self) -> str:
        """Return all messages, one per line."""
        return "\n".join(entry.message for entry in self.entries)

    def debug(self, message: str, *args: object) -> None:
        """Log at level debug."""
        self._keep("debug", message, args)

    def info(self, message: str, *args: object) -> None:
        """Log at level info."""
        self._keep("info", message, args)

    def warning(self, message: str, *args: object) -> None:
        """Log at level warning."""
        self._keep("warning", message, args)

    def error(self, message: str, *args: object) -> None:
        """Log at level error."""
        self._keep("error", message, args)

    def _keep(self, level: str, message: str, args: tuple[object, ...]) -> None:
        text = message % args if args else message
        self.entries.append(LogEntry(level, text, self.node))


@dataclass(frozen=True)
class FakeReports:
    """All reports of progress, in order."""

    entries: list[Progress] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        """Add a report."""
        self.entries.append(progress)


@dataclass(frozen=True)
class FakeRuntime(Runtime):
    """A Runtime of fakes: each part can be given, and inspected afterwards."""

    agents: FakeAgents = field(default_factory=FakeAgents)
    documents: FakeDocuments = field(default_factory=FakeDocuments)
    images: FakeImages = field(default_factory=FakeImages)
    profiles: FakeProfiles = field(default_factory=FakeProfiles)
    logger: FakeLogger = field(default_factory=FakeLogger)
    reports: FakeReports = field(default_factory=FakeReports)

    def result_of(self, awaitable: Awaitable[Result]) -> Result:
        """Return the result, also where a test calls a plain `def` node itself."""
        if is_node_thread() or _has_loop():
            return super().result_of(awaitable)
        return asyncio.run(_awaited(awaitable))


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _awaited(awaitable: Awaitable[Result]) -> Result:
    return await awaitable
