"""The Runtime of a workflow and the Protocols of its parts.

This module has no database, web framework or model server; the providers are in other
packages, their fakes in `fakes.py`. A provider may have a method `at(context)`, which is
called once per step and returns the provider bound to that node.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from workflows.engine.outcomes import RunOutcome
from workflows.engine.resources import Resource
from workflows.engine.threads import is_node_thread, wait_for
from workflows.runtime.conversations import (
    Prompt,
    Reply,
    Tool,
)
from workflows.runtime.errors import Unavailable
from workflows.runtime.records import (
    DocumentInfo,
    ImageInfo,
    Page,
    Progress,
    PromptProfile,
)
from workflows.runtime.renderings import RenderOptions

if TYPE_CHECKING:
    from workflows.runtime.isolated import ChildRuntime

Answer = TypeVar("Answer", bound=BaseModel)
Part = TypeVar("Part")
Opened = TypeVar("Opened")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks an id in a workflow's params as a reference to a row.

    A form offers a list (and an upload) where it finds this in the metadata of a field;
    in a JSON schema: `"reference": "document"`.
    """

    kind: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of the id with the kind of row."""
        return {**handler(schema), "reference": self.kind}


DocumentRef = Annotated[UUID, Reference("document")]
"""The id of a document, a UUID: of an uploaded one, or of a file that a run made.

In a launch form a select with an upload; in the result of a run a download."""

AgentRef = Annotated[str, Reference("agent")]
"""The name of an agent, "" for the default one; in a launch form a select."""


class NodeContext(Protocol):
    """The node that is executing; implemented by the engine."""

    @property
    def key(self) -> str:
        """Return the identifier of this step, unchanged when it is repeated."""

    @property
    def cancelled(self) -> bool:
        """Whether cancellation was requested."""

    @property
    def node(self) -> str:
        """Return the node's name."""

    @property
    def sequence(self) -> int:
        """Return the number of the step within its run."""


class Logger(Protocol):
    """The log of a run; messages use `%s` arguments as in `logging`."""

    def debug(self, message: str, *args: object) -> None:
        """Log at level debug."""

    def info(self, message: str, *args: object) -> None:
        """Log at level info."""

    def warning(self, message: str, *args: object) -> None:
        """Log at level warning."""

    def error(self, message: str, *args: object) -> None:
        """Log at level error."""


class Documents(Protocol):
    """The uploaded documents, and the files that runs make.

    Raises NotFound for an unknown id, StorageFailed if storage does not work.
    """

    def add(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> Awaitable[UUID]:
        """Store a file of this run, and return its id: a DocumentRef.

        `content` is bytes, a text (stored as UTF-8), or a path of a local file. Without a
        content type, that of the name's suffix is used. The file is made once per step and
        name: a step that is repeated gets the id of the file that it has made.
        Raises Duplicate if it was made with other content, Invalid for a name, type or content
        that cannot be used, and for a file above MAX_RUN_FILE_BYTES.
        """

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the name, type and size."""

    async def read(self, document: UUID) -> bytes:
        """Return the content."""

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises Unsupported without pages."""

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, counted from 1. Raises NotFound."""

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text recognized on the image of one page, counted from 1.

        The result has one page per variant of the image; `enhanced` adds variants for faint
        text. Raises NotFound, and Unavailable without the OCR packages.
        """


class Images(Protocol):
    """Images of document pages, each rendered once and stored."""

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return the selected pages in page order.

        Raises NotFound, StorageFailed, and Invalid for pages that are not there or cannot
        be drawn.
        """


class Agents(Protocol):
    """Language models by the name that an administrator gave them.

    Each call raises Unavailable when no such agent can be reached because none is set
    up, NotFound for an unknown name, UpstreamFailed when its provider fails. `options`
    go to the provider as they are; `token` is used in place of the stored key.
    """

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the complete response."""

    def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncIterator[str]:
        """Yield the response as it streams."""

    async def vision(
        self,
        agent: str,
        prompt: Prompt,
        images: Sequence[bytes | str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the response to a prompt with images, each bytes or a data URI."""

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the response: its text, and the calls of tools that the agent requests."""

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text."""

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the response as that model. Raises UpstreamFailed if it does not validate."""


class Reports(Protocol):
    """Takes reports of progress; bound to a step by `at(context)`."""

    def report(self, progress: Progress) -> None:
        """Show it in place of the last one. Thread-safe; does not wait for storage."""


class Profiles(Protocol):
    """The profile of this run: the agent and settings of each prompt."""

    def prompt(
        self, name: str, /, default: PromptProfile | None = None
    ) -> PromptProfile:
        """Return the settings of a prompt, merged over the workflow's default."""


@dataclass(frozen=True)
class Runtime:
    """The services available to a workflow, bound to the current node."""

    agents: Agents
    documents: Documents
    images: Images
    profiles: Profiles
    logger: Logger
    context: NodeContext | None = None  # None outside a node
    scheduled_for: dt.datetime | None = (
        None  # the moment of a schedule that launched it
    )
    reports: Reports | None = None  # None: progress is not shown
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[Resource[Any], Any] = field(default_factory=dict)

    def at(self, context: NodeContext) -> Runtime:
        """Return this runtime bound to a node: log lines and calls are attributed to it."""
        return replace(
            self,
            agents=_bound(self.agents, context),
            documents=_bound(self.documents, context),
            images=_bound(self.images, context),
            profiles=_bound(self.profiles, context),
            logger=_bound(self.logger, context),
            reports=_bound(self.reports, context),
            context=context,
        )

    def for_child(self) -> ChildRuntime:
        """Return the part that goes with a node into its child process."""
        from workflows.runtime.isolated import ChildRuntime  # noqa: PLC0415 - a cycle

        return ChildRuntime(
            self.profiles, self.scheduled_for, dict(self.variables), dict(self.secrets)
        )

    @property
    def key(self) -> str:
        """Return the identifier of this step, unchanged when it is repeated.

        Pass it on as an idempotency key. Raises Unavailable outside a node.
        """
        if self.context is None:
            raise Unavailable(
                "This runtime is not inside a node, so it has no key: "
                "use the runtime that the node was given."
            )
        return self.context.key

    def now(self) -> dt.datetime:
        """Return the time of the run's clock, in UTC; in a test that of its ManualClock."""
        clock = getattr(self.context, "clock", None)
        now: dt.datetime = dt.datetime.now(dt.UTC) if clock is None else clock.now()
        return now

    def progress(
        self,
        done: float | None = None,
        of: float | None = None,
        text: str = "",
    ) -> None:
        """Report that this step still works, and how far it is: `progress(3, 12, "pages")`.

        Restarts the heartbeat of the node. The page of the run shows the last report while
        the step runs, changed at most twice a second; no report is kept in the history.
        Thread-safe. Raises Invalid for numbers that are negative or not finite.
        """
        report = Progress.of_values(done, of, text)
        beat = getattr(self.context, "beat", None)
        if beat is not None:
            beat()
        if self.reports is not None and not report.is_empty:
            self.reports.report(report)

    def get(self, resource: Resource[Opened]) -> Opened:
        """Return the value of a resource that the workflow declares. Raises Unavailable."""
        if resource not in self.resources:
            raise Unavailable(
                f"The resource “{resource.name}” is not open here: declare it with"
                " Workflow(resources=[…]), or give it to a test as"
                " FakeRuntime(resources={…}). A node with isolate= has none."
            )
        opened: Opened = self.resources[resource]
        return opened

    def result_of(self, awaitable: Awaitable[Result]) -> Result:
        """Return the result of a service in a plain `def` node, which cannot await it.

        `runtime.result_of(runtime.documents.add("a.csv", text))`. The event loop of the run
        awaits it, while the thread of the node waits. Raises Unavailable elsewhere.
        """
        if not is_node_thread():
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise Unavailable(
                "runtime.result_of() is for the thread of a plain “def” node: in an “async def”"
                " node, await the call."
            )
        return wait_for(awaitable)

    @property
    def outcome(self) -> RunOutcome:
        """Return how the run ended. Raises Unavailable in any node other than `on_end`."""
        # no part of the protocol: contexts that tests of authors declare have none
        outcome: RunOutcome | None = getattr(self.context, "outcome", None)
        if outcome is None:
            raise Unavailable(
                "The outcome of the run is not known yet: only the on_end node has it."
            )
        return outcome

    @property
    def cancelled(self) -> bool:
        """Whether cancellation was requested; check it in long loops."""
        return self.context is not None and self.context.cancelled


def _bound(part: Part, context: NodeContext) -> Part:
    """Return a provider bound to a node, or itself if it has no `at` method."""
    at = getattr(part, "at", None)
    bound: Part = part if at is None else at(context)
    return bound
