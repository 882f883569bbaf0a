"""Content of agent calls: stored where a workflow says so, masked, bounded, replayed."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError
from pydantic import BaseModel

from tests.support.agent_rows import make_agent
from tests.support.lost_workers import Commits
from tests.support.openai_server import Answer, ModelServer, failing
from tests.support.workers import ended, working
from workflows.agents import call_content
from workflows.agents.call_content import StoredContent
from workflows.agents.recordings import Recordings, ReplayingAgents
from workflows.engine import DefinitionError, State, Workflow, node, parallel
from workflows.errors import ForkRefused
from workflows.execution.call_recorder import RunCallRecorder
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall, CallContent, CallReplay, Retention, Run
from workflows.registry import Registry
from workflows.retention.purge import purge_due
from workflows.runtime import FakeAgents, Message, NotFound, Runtime, Tool
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "token-of-the-launch-1234"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8


class Mood(BaseModel):
    name: str


class Talk(State):
    words: tuple[str, ...] = ("one", "two")
    answers: tuple[str, ...] = ()
    question: str = "Hello?"
    result: str = ""
    other: str = ""


@node
async def greet(state: Talk, runtime: Runtime) -> Talk:
    reply = await runtime.agents.chat("writer", state.question)
    return state.set(result=reply.text)


@node
async def describe(state: Talk, runtime: Runtime) -> Talk:
    text = ""
    async for piece in runtime.agents.chat_stream("writer", "Tell me."):
        text += piece
    return state.set(other=text)


@node
async def judge(state: Talk, runtime: Runtime) -> Talk:
    mood = await runtime.agents.ask("writer", "Which mood?", Mood)
    return state.set(result=mood.name)


@node
async def reveal(state: Talk, runtime: Runtime) -> Talk:
    reply = await runtime.agents.chat("writer", f"My key is {TOKEN}. Repeat it.")
    return state.set(result=str(len(reply.text)))


@node
async def answer_one(word: str, runtime: Runtime) -> str:
    return (await runtime.agents.chat("writer", word)).text


answer_all = parallel(answer_one, over="words", into="answers", limit=1)
WORKFLOWS: dict[str, Any] = {
    "greeting": {"start": greet, "routes": {greet: describe}},
    "judging": {"start": judge, "routes": {}},
    "revealing": {"start": reveal, "routes": {}},
    "answering": {"start": answer_all, "routes": {}},
}
registry = Registry()
for name, declared in WORKFLOWS.items():
    registry.register(Workflow(name, state=Talk, call_content=True, **declared))
registry.register(Workflow("quiet", state=Talk, start=greet, routes={greet: judge}))
system = System(registry)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running, system_prompt="Be kind.")
        yield running


async def finished(name: str, **given: Any) -> Run:
    async with working(registry):
        return await ended((await run_in_db(system.execute, name, **given)).pk)


async def forked(origin: Run, step: int, **given: Any) -> Run:
    request = ForkRequest(step, **given)
    async with working(registry):
        fork = await run_in_db(system.fork, origin.pk, request, by=None)
        return await ended(fork.pk)


async def contents(run: Run) -> list[StoredContent]:
    rows = await run_in_db(list, CallContent.objects.filter(run=run).order_by("pk"))
    return [call_content.read(row) for row in rows]


async def replays(run: Run) -> list[str | None]:
    rows = AgentCall.objects.filter(run=run).order_by("pk")
    return await run_in_db(list, rows.values_list("replay", flat=True))


# What is stored -------------------------------------------------------------------------


async def test_prompt_and_answer_of_each_call_are_stored_with_it(
    server: ModelServer,
) -> None:
    server.script(Answer("Good day."), Answer("Once upon a time."))
    run = await finished("greeting")
    first, second = await contents(run)
    assert [(one.role, one.text.text) for one in first.messages] == [
        ("system", "Be kind."),
        ("user", "Hello?"),
    ]
    assert first.answer is not None
    assert second.answer is not None
    assert (first.answer.text, second.answer.text) == (
        "Good day.",
        "Once upon a time. ",
    )
    assert first.answer.mark == first.problem == ""


async def test_a_workflow_without_the_option_stores_an_unusable_answer_alone(
    server: ModelServer,
) -> None:
    server.script(Answer("Hi."), Answer("Cheerful!"), Answer('{"name": "glad"}'))
    run = await finished("quiet")
    assert run.result is not None
    assert run.result["result"] == "glad"
    (only,) = await contents(run)
    assert only.answer is not None
    assert (only.messages, only.answer.text) == ((), "Cheerful!")
    assert only.problem == "The response contains no JSON."
    row = await run_in_db(CallContent.objects.get)
    assert (row.digest, row.node_name) == (None, "judge")


async def test_secrets_of_the_run_are_masked_in_prompt_and_answer(
    server: ModelServer,
) -> None:
    server.script(Answer(f"It is {TOKEN}."))
    run = await finished("revealing", token=TOKEN)
    (only,) = await contents(run)
    assert only.answer is not None
    assert only.messages[1].text.text == "My key is •••. Repeat it."
    assert only.answer.text == "It is •••."
    assert not only.is_whole, "the node was given another answer"


async def test_a_failed_call_keeps_its_prompt(server: ModelServer) -> None:
    server.script(failing(400, "Wrong."))
    run = await finished("greeting")
    (only,) = await contents(run)
    assert (only.messages[1].text.text, only.answer) == ("Hello?", None)


async def test_a_long_text_is_cut_with_a_mark_after_how_many_characters(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_content, "MAX_CHARS", 10)
    server.script(Answer("0123456789ABC"), Answer("fits"))
    run = await finished("greeting")
    first, second = await contents(run)
    assert first.answer is not None
    assert first.answer.text == "0123456789"
    assert first.answer.mark == "Cut after 10 of 13 characters."
    assert (len(first.messages), first.left_out) == (1, 1)
    assert (first.is_whole, second.is_whole) == (False, True)


async def test_a_commit_that_is_repeated_stores_the_content_once(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[AgentCall] = []
    store = RunCallRecorder._store_with_content  # noqa: SLF001 - where the process may stop

    def stop_before_the_first_commit(
        self: RunCallRecorder, row: AgentCall, *rest: Any
    ) -> None:
        store(self, row, *rest)
        stores.append(row)
        if len(stores) == 1:
            raise DatabaseError("The connection was lost.")

    monkeypatch.setattr(
        RunCallRecorder, "_store_with_content", stop_before_the_first_commit
    )
    run = await finished("greeting")
    calls = await run_in_db(list, AgentCall.objects.filter(run=run))
    assert len(await contents(run)) == len(calls)
    assert len(stores) > len(calls)


async def test_each_call_has_its_content_after_whichever_commit_a_worker_is_killed(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = Commits(monkeypatch)
    for number in itertools.count():
        commits.lost_after = number
        run = await finished("greeting")
        assert (run.status, run.error_message) == ("completed", ""), number
        calls = await run_in_db(list, AgentCall.objects.filter(run=run))
        found = CallContent.objects.filter(run=run).values_list("call_id", flat=True)
        assert sorted(await run_in_db(list, found)) == sorted(one.pk for one in calls)
        assert {one.sequence for one in calls} == {1, 2}
        sent = len(server.requests)
        fork = await forked(run, 1, replay=True)
        assert fork.result == run.result
        assert len(server.requests) == sent, number
        if commits.made[run.pk] < number:
            break
    assert number >= 3


def test_an_option_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(DefinitionError, match="call_content='yes' is neither"):
        Workflow("wrong", state=Talk, start=greet, routes={}, call_content="yes")  # type: ignore[arg-type]


def test_the_option_does_not_change_the_fingerprint() -> None:
    plain = Workflow("one", state=Talk, start=greet, routes={})
    keeping = Workflow("one", state=Talk, start=greet, routes={}, call_content=True)
    assert plain.fingerprint == keeping.fingerprint


# What is deleted ------------------------------------------------------------------------


async def test_content_is_purged_before_the_data_and_the_calls_remain(
    server: ModelServer,
) -> None:
    run = await finished("greeting")

    def purge(**days: int) -> int:
        past = run.created_at.replace(year=2001)
        Run.objects.filter(pk=run.pk).update(completed_at=past)
        Retention.objects.update_or_create(
            workflow_name="greeting", defaults={"payload_days": 30_000, **days}
        )
        return purge_due().contents

    assert await run_in_db(purge) == 0
    assert await run_in_db(lambda: purge(content_days=10)) == 1
    assert await run_in_db(lambda: purge(content_days=10)) == 0
    assert not await run_in_db(CallContent.objects.exists)
    assert await run_in_db(AgentCall.objects.count) == 2
    event = await run_in_db(run.audit_events.latest, "pk")
    assert event.action == "purge call content"
    assert event.reason.startswith("10 days after its end")


async def test_content_is_deleted_with_its_run_and_the_cost_remains(
    server: ModelServer,
) -> None:
    run = await finished("greeting")
    await run_in_db(lambda: system.delete_run(run.pk, by=None))
    assert not await run_in_db(CallContent.objects.exists)
    assert await run_in_db(AgentCall.objects.count) == 2


# What is replayed -----------------------------------------------------------------------


async def test_a_fork_replays_the_recorded_answers_without_tokens(
    server: ModelServer,
) -> None:
    server.script(Answer("Good day."), Answer("Once upon a time."))
    origin = await finished("greeting")
    sent = len(server.requests)
    fork = await forked(origin, 1, replay=True)
    assert fork.result == origin.result
    assert len(server.requests) == sent
    calls = await run_in_db(list, AgentCall.objects.filter(run=fork))
    assert [one.replay for one in calls] == ["replayed", "replayed"]
    assert {(one.tokens_in, one.tokens_out) for one in calls} == {(0, 0)}
    assert {one.cost for one in calls} == {Decimal(0)}
    origins = AgentCall.objects.filter(run=origin).values_list("pk", flat=True)
    assert [one.replayed_from for one in calls] == await run_in_db(list, origins)
    again = await forked(fork, 2, replay=True)
    assert again.result == origin.result
    assert len(server.requests) == sent, "the fork has its own copies"


async def test_a_call_with_another_prompt_calls_again_and_records_why(
    server: ModelServer,
) -> None:
    server.script(Answer("Good day."), Answer("Once."), Answer("Good night."))
    origin = await finished("greeting")
    state = {**Talk().data, "question": "Good night?"}
    fork = await forked(origin, 1, replay=True, state=state)
    assert fork.result is not None
    assert (fork.result["result"], fork.result["other"]) == ("Good night.", "Once. ")
    assert await replays(fork) == ["prompt", "replayed"]


async def test_a_fork_calls_again_unless_it_replays(server: ModelServer) -> None:
    origin = await finished("greeting")
    sent = len(server.requests)
    fork = await forked(origin, 1)
    assert len(server.requests) == 2 * sent
    assert await replays(fork) == [None, None]


async def test_a_repaired_answer_is_replayed_with_its_repair(
    server: ModelServer,
) -> None:
    server.script(Answer("Cheerful!"), Answer('{"name": "glad"}'))
    origin = await finished("judging")
    fork = await forked(origin, 1, replay=True)
    assert fork.result == origin.result
    assert await replays(fork) == ["replayed", "replayed"]
    assert [one.problem for one in await contents(fork)] == [
        "The response contains no JSON.",
        "",
    ]


async def test_each_item_gets_its_own_answer(server: ModelServer) -> None:
    server.script(Answer("1"), Answer("2"))
    origin = await finished("answering")
    fork = await forked(origin, 1, replay=True)
    assert fork.result is not None
    assert fork.result["answers"] == ["1", "2"]


async def test_a_masked_answer_is_not_replayed(server: ModelServer) -> None:
    server.script(Answer(f"It is {TOKEN}."), Answer("No."))
    origin = await finished("revealing", token=TOKEN)
    fork = await forked(origin, 1, replay=True)
    assert fork.result is not None
    assert fork.result["result"] == "3"
    # without the token, the prompt is another one
    assert await replays(fork) == ["prompt"]


async def test_a_fork_without_recorded_answers_is_refused(server: ModelServer) -> None:
    server.script(Answer("Hi."), Answer('{"name": "glad"}'))
    origin = await finished("quiet")
    with pytest.raises(ForkRefused, match="no recorded answers of agents from step 1"):
        await run_in_db(system.fork, origin.pk, ForkRequest(1, replay=True), by=None)


# The agents of a replay -----------------------------------------------------------------


class At:
    """The context of a node."""

    cancelled = False

    def __init__(self, node: str, sequence: int) -> None:
        self.node, self.sequence, self.key = node, sequence, f"{node}/{sequence}"


async def test_recorded_answers_need_no_agent_when_others_are_refused(
    server: ModelServer,
) -> None:
    server.script(Answer("Good day."))
    run = await finished("greeting")

    def refuse(request: Any, why: CallReplay) -> Any:
        raise NotFound(f"{request.kind}: {why.label}")

    recordings = await run_in_db(Recordings.of_run, run.pk)
    assert recordings.count == 2
    agents = ReplayingAgents(recordings, refuse).at(At("greet", 1))
    assert (await agents.chat("writer", "Hello?")).text == "Good day."
    with pytest.raises(NotFound, match="chat: Called again: no answer is recorded"):
        await agents.chat("writer", "Hello?")
    other = agents.at(At("describe", 2))
    with pytest.raises(NotFound, match="the prompt differs"):
        await other.chat("writer", "Tell me more.")


async def test_vision_tools_and_vectors_are_replayed_as_they_were(
    server: ModelServer,
) -> None:
    call = {"name": "add", "arguments": json.dumps({"one": 1})}
    server.script(
        Answer("A cat."),
        Answer("", tool_calls=[{"id": "1", "type": "function", "function": call}]),
        Answer(vectors=[[0.1, 0.2]]),
    )
    add = Tool("add", "Adds.", {"type": "object"})
    prompt = [Message("user", "Look.")]
    made: list[Any] = []

    @node
    async def use_all(state: Talk, runtime: Runtime) -> Talk:
        seen = await runtime.agents.vision("writer", prompt, [PNG])
        used = await runtime.agents.tools("writer", "Add.", [add], temperature=0)
        vectors = await runtime.agents.embed("writer", ["cat"])
        made.append((seen.text, used.calls, vectors))
        return state

    registry.unregister("using")
    registry.register(
        Workflow("using", state=Talk, start=use_all, routes={}, call_content=True)
    )
    origin = await finished("using")
    sent = len(server.requests)
    await forked(origin, 1, replay=True)
    assert made[0] == made[1]
    assert made[0][1][0].arguments == {"one": 1}
    assert len(server.requests) == sent == 3
    first, *_ = await contents(origin)
    assert first.messages[-1].images == ("image/png, 16 bytes",)


def test_a_replay_uses_a_fake_for_what_is_not_recorded() -> None:
    fake = FakeAgents(writer=["Hi."])
    agents = ReplayingAgents(Recordings({}), lambda _request, _why: fake)
    assert asyncio.run(agents.chat("writer", "Hello?")).text == "Hi."
