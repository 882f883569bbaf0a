"""What a workflow may reach: its Runtime, and the Protocol of each part of it.

Nothing here knows a database, a web framework or a model server; the real providers
stand beside this file, their fakes in `fakes.py`. A provider may have a method
`at(context)`: it is then given the node it works for, once per step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from workflows.runtime.errors import Unavailable
from workflows.runtime.records import (
    DocumentInfo,
    ImageInfo,
    Page,
    Prompt,
    PromptProfile,
    Reply,
    Tool,
    ToolCall,
)
from workflows.runtime.renderings import RenderOptions

Answer = TypeVar("Answer", bound=BaseModel)
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks an id in a workflow's params as that of a row to choose.

    A form offers a list (and an upload) where it finds this in the metadata of a field;
    a JSON schema says it as `"reference": "document"`.
    """

    kind: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of the id, with the kind of row it names."""
        return {**handler(schema), "reference": self.kind}


DocumentRef = Annotated[UUID, Reference("document")]
"""The id of a document; in a launch form a choice of documents, with an upload."""

AgentRef = Annotated[str, Reference("agent")]
"""The name of an agent, "" for the default one; in a launch form a choice of agents."""


class NodeContext(Protocol):
    """Where in a run a node is running; the engine's own is one of these."""

    @property
    def key(self) -> str:
        """Return what names this step of this run, also when it is repeated."""

    @property
    def cancelled(self) -> bool:
        """Tell whether someone has asked the run to stop."""

    @property
    def node(self) -> str:
        """Return the node's name."""

    @property
    def sequence(self) -> int:
        """Return the number of the step within its run."""


class Logger(Protocol):
    """Lines for the people who watch the run; `%s` places as in `logging`."""

    def debug(self, message: str, *args: object) -> None:
        """Note a detail."""

    def info(self, message: str, *args: object) -> None:
        """Say what goes on."""

    def warning(self, message: str, *args: object) -> None:
        """Say what someone should look at."""

    def error(self, message: str, *args: object) -> None:
        """Say what went wrong."""


class Documents(Protocol):
    """The documents people have uploaded.

    Raises NotFound for one that is not there, StorageFailed where storage does not work.
    """

    async def get(self, document: UUID) -> DocumentInfo:
        """Return its name, kind and size."""

    async def read(self, document: UUID) -> bytes:
        """Return its bytes."""

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises Unsupported: it has no pages."""

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, from 1. Raises NotFound."""

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text on the picture of one page, from 1, as it looks.

        Each is one way of looking at it; with `again` there are more of them, for what
        is faint. Raises NotFound, and Unavailable where scans cannot be read.
        """


class Images(Protocol):
    """Pictures of the pages of documents, each made once and kept."""

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return the pages that the options name, in page order.

        Raises NotFound, StorageFailed, and Invalid for pages that are not there or cannot
        be drawn.
        """


class Agents(Protocol):
    """Language models by the name an administrator gave them.

    Each call raises Unavailable when no such agent can be reached because none is set
    up, NotFound for an unknown name, UpstreamFailed when its provider fails. `options`
    go to the provider as they are; `token` is used in place of the stored key.
    """

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the whole answer."""

    def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncIterator[str]:
        """Yield the answer as it arrives."""

    async def vision(
        self,
        agent: str,
        prompt: Prompt,
        images: Sequence[bytes | str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the answer about at least one image, each bytes or a data URI."""

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[ToolCall, ...]:
        """Return the functions the agent asks for; empty when it asks for none."""

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return one vector for each text."""

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the answer as that model. Raises UpstreamFailed: it would not fit."""


class Profiles(Protocol):
    """The profile chosen for this run: which agent each stage talks to, and how."""

    def prompt(
        self, name: str, /, default: PromptProfile | None = None
    ) -> PromptProfile:
        """Return the chosen settings of a stage laid over the workflow's defaults."""


@dataclass(frozen=True)
class Runtime:
    """All that a workflow may reach, bound to the node it was handed to."""

    agents: Agents
    documents: Documents
    images: Images
    profiles: Profiles
    logger: Logger
    context: NodeContext | None = None  # None outside a node

    def at(self, context: NodeContext) -> Runtime:
        """Return this runtime for one node: its log lines and calls are that node's."""
        return replace(
            self,
            agents=_bound(self.agents, context),
            documents=_bound(self.documents, context),
            images=_bound(self.images, context),
            profiles=_bound(self.profiles, context),
            logger=_bound(self.logger, context),
            context=context,
        )

    @property
    def key(self) -> str:
        """Return what names this step of this run, the same when it is repeated.

        Pass it on as an idempotency key. Raises Unavailable outside a node.
        """
        if self.context is None:
            raise Unavailable(
                "This runtime is not inside a node, so it has no key: "
                "use the runtime that the node was given."
            )
        return self.context.key

    @property
    def cancelled(self) -> bool:
        """Tell whether someone has asked the run to stop; long loops should look."""
        return self.context is not None and self.context.cancelled


def _bound(part: Part, context: NodeContext) -> Part:
    """Return a provider for one node, or itself when it does not care."""
    at = getattr(part, "at", None)
    bound: Part = part if at is None else at(context)
    return bound
