"""Recorded answers of the calls of a run, in place of new ones.

`Recordings` finds the answer of a call, `ReplayingAgents` gives it to the code of a node and
lets other agents answer what is not recorded:

    recordings = Recordings.of_run(run_id)
    agents = ReplayingAgents(recordings, otherwise)

A recorded answer belongs to one call: to that of the same node and item, with the same
request (`CallRequest`). The call of the same step is preferred, so that a resumed run gets the
same answers; else the first one that was not used yet. Requests are compared without what
administrators configure: the system prompt and the model of an agent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from workflows.agents import call_content
from workflows.agents.call_content import digest_of
from workflows.agents.call_requests import CallRequest
from workflows.agents.json_output import MAX_REPAIRS, invalid_answer, parse_answer
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import AgentCall, CallContent, CallReplay, CallStatus, Fork
from workflows.runtime.conversations import Reply, ToolCall
from workflows.runtime.errors import InvalidResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from uuid import UUID

    from workflows.agents.call_content import Masks, StoredContent
    from workflows.runtime.conversations import Prompt, Tool
    from workflows.runtime.protocols import Agents, Answer, NodeContext

MAX_ORIGINS: Final = 100  # forks of forks whose calls are read


class NoMasks:
    """Replaces nothing, for runs without secrets."""

    def text(self, text: str) -> str:
        """Return the text."""
        return text

    def json_text(self, text: str) -> str:
        """Return the text."""
        return text


@dataclass(slots=True)
class RecordedCall:
    """A call whose answer is recorded; its content is read when it is used."""

    row: AgentCall
    node: str
    digest: bytes
    is_used: bool = False

    def content(self) -> StoredContent | None:
        """Return its content, None if that was deleted since."""
        stored = CallContent.objects.filter(pk=self.row.pk).first()
        return None if stored is None else call_content.read(stored)


@dataclass(frozen=True, slots=True)
class Found:
    """What is recorded for a call: the answer, or why there is none."""

    outcome: CallReplay
    call: RecordedCall | None = None
    content: StoredContent | None = None

    @property
    def text(self) -> str:
        """The recorded answer."""
        answer = self.content.answer if self.content else None
        return answer.text if answer else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The recorded calls of tools."""
        text = self.content.tool_calls.text if self.content else ""
        rows = json.loads(text) if text else []
        return tuple(ToolCall(one["id"], one["name"], one["arguments"]) for one in rows)

    @property
    def reply(self) -> Reply:
        """The recorded answer; a replay uses no tokens."""
        model = self.call.row.model if self.call else ""
        return Reply(self.text, model, calls=self.tool_calls)


@dataclass(slots=True)
class Recordings:
    """The recorded calls of one run, each of which is used at most once."""

    calls: dict[tuple[str, int | None], list[RecordedCall]]  # by node and item
    masks: Masks = field(default_factory=NoMasks)  # of the run that replays
    shift: int = 0  # by how much its steps have higher numbers

    @classmethod
    def of_run(
        cls, run_id: UUID, masks: Masks | None = None, *, shift: int = 0
    ) -> Recordings:
        """Return the recorded calls of a run, with those of the steps it shares."""
        return cls.of_runs([run_id], masks, shift=shift)

    @classmethod
    def of_runs(
        cls, run_ids: Iterable[UUID], masks: Masks | None = None, *, shift: int = 0
    ) -> Recordings:
        """Return the recorded calls of several runs, with those of the steps they share."""
        found: dict[tuple[str, int | None], list[RecordedCall]] = defaultdict(list)
        for run_id in run_ids:
            for one in recorded_calls(run_id):
                found[one.node, one.row.item].append(one)
        return cls(dict(found), masks or NoMasks(), shift)

    @property
    def count(self) -> int:
        """The number of recorded answers."""
        return sum(map(len, self.calls.values()))

    async def take(
        self, context: NodeContext | None, request: CallRequest, repairs: int = 0
    ) -> Found:
        """Return what is recorded for a call, and use it up."""
        node = context.node if context else ""
        known = self.calls.get((node, getattr(context, "item", None)), [])
        unused = [one for one in known if not one.is_used]
        digest = digest_of(request.text(repairs), self.masks) if unused else b""
        same = [one for one in unused if one.digest == digest]
        if not same:
            differs, missing = CallReplay.PROMPT_DIFFERS, CallReplay.NOT_RECORDED
            return Found(differs if unused else missing)
        step = context.sequence - self.shift if context else 0
        call = next((one for one in same if one.row.sequence == step), same[0])
        call.is_used = True
        content = await run_in_db_retrying(call.content)
        if content is None:
            return Found(CallReplay.NOT_RECORDED)
        if content.is_whole:
            return Found(CallReplay.REPLAYED, call, content)
        return Found(CallReplay.NOT_WHOLE)


def recorded_calls(run_id: UUID) -> list[RecordedCall]:
    """Return the calls of a run whose answers are recorded, in their order.

    Of a step that was executed again, those of its last attempt; of a fork, also those of the
    steps that it shares.
    """
    found: list[RecordedCall] = []
    before: int | None = None
    origin: UUID | None = run_id
    for _ in range(MAX_ORIGINS):
        if origin is None:
            break
        found = _of_one_run(origin, before) + found
        fork = Fork.objects.filter(run=origin).first()
        if fork is not None:
            before = fork.kept if before is None else min(before, fork.kept)
        origin = fork.origin_key if fork else None
    return found


def _of_one_run(run_id: UUID, before: int | None) -> list[RecordedCall]:
    """Return the recorded calls of the steps of one run, up to a step."""
    rows = CallContent.objects.filter(
        run=run_id, digest__isnull=False, call__status=CallStatus.COMPLETED
    )
    if before is not None:
        rows = rows.filter(call__sequence__lte=before)
    rows = rows.select_related("call").defer("data").order_by("pk")
    return _of_last_attempts(
        RecordedCall(row.call, row.node_name, bytes(row.digest or b"")) for row in rows
    )


def _of_last_attempts(calls: Iterable[RecordedCall]) -> list[RecordedCall]:
    known = list(calls)
    last: dict[int, int] = {}
    for one in known:
        step = one.row.sequence
        last[step] = max(last.get(step, 0), one.row.attempt)
    return [one for one in known if one.row.attempt == last[one.row.sequence]]


def _nothing(request: CallRequest, found: Found, context: NodeContext | None) -> None:
    """Record no replayed call."""


@dataclass(frozen=True)
class ReplayingAgents:
    """Agents that give recorded answers; other agents answer what is not recorded.

    `otherwise` returns the agents that answer a call, or raises ProviderError; `note` is
    called with each replayed call, in order to record it.
    """

    recordings: Recordings
    otherwise: Callable[[CallRequest, CallReplay], Agents]
    note: Callable[[CallRequest, Found, NodeContext | None], None] = _nothing
    context: NodeContext | None = None

    def at(self, context: NodeContext) -> ReplayingAgents:
        """Return agents bound to a node, by which their answers are found."""
        return replace(self, context=context)

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the recorded response, or a new one."""
        request = CallRequest("chat", agent, prompt, options=options)
        found = await self._take(request)
        if found.call is not None:
            return found.reply
        again = self._again(request, found)
        return await again.chat(agent, prompt, token=token, **options)

    async def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncGenerator[str, None]:
        """Yield the recorded response at once, or a new one as it streams."""
        request = CallRequest("chat_stream", agent, prompt, options=options)
        found = await self._take(request)
        if found.call is not None:
            yield found.text
            return
        again = self._again(request, found)
        async for piece in again.chat_stream(agent, prompt, token=token, **options):
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
        """Return the recorded response to a prompt with images, or a new one."""
        request = CallRequest("vision", agent, prompt, images=images, options=options)
        found = await self._take(request)
        if found.call is not None:
            return found.reply
        again = self._again(request, found)
        return await again.vision(agent, prompt, images, token=token, **options)

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the recorded response with its calls of tools, or a new one."""
        request = CallRequest("tools", agent, prompt, tools=tools, options=options)
        found = await self._take(request)
        if found.call is not None:
            return found.reply
        again = self._again(request, found)
        return await again.tools(agent, prompt, tools, token=token, **options)

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return the recorded vectors, or new ones."""
        request = CallRequest("embed", agent, texts=texts, options=options)
        found = await self._take(request)
        if found.call is not None:
            return tuple(tuple(vector) for vector in json.loads(found.text))
        again = self._again(request, found)
        return await again.embed(agent, texts, token=token, **options)

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the recorded answer, repaired as it was; or a new one."""
        request = CallRequest("ask", agent, prompt, answer=answer, options=options)
        for repairs in range(MAX_REPAIRS + 1):
            found = await self._take(request, repairs)
            if found.call is None:
                again = self._again(request, found)
                return await again.ask(agent, prompt, answer, token=token, **options)
            try:
                return parse_answer(found.text, answer)
            except InvalidResponse as wrong:
                if repairs == MAX_REPAIRS:
                    raise invalid_answer(agent, answer, wrong) from wrong
        raise AssertionError("the last round returns or raises")

    # -- inside -----------------------------------------------------------------------

    async def _take(self, request: CallRequest, repairs: int = 0) -> Found:
        found = await self.recordings.take(self.context, request, repairs)
        if found.call is not None:
            self.note(request, found, self.context)
        return found

    def _again(self, request: CallRequest, found: Found) -> Agents:
        """Return the agents that answer a call without a recorded answer."""
        agents = self.otherwise(request, found.outcome)
        bind = getattr(agents, "at", None)
        if self.context is None or bind is None:
            return agents
        bound: Agents = bind(self.context)
        return bound
