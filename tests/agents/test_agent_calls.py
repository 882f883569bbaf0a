"""Calls of agents within runs: recorded on their stage, stopped with it, summed up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.agent_rows import make_agent
from tests.support.openai_server import Answer, Gate, ModelServer, failing
from tests.support.workers import ended, until, working
from workflows.agents import usage
from workflows.agents.provider_api import service
from workflows.engine import Retry, State, Workflow, node, parallel
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall, LiveText, Price, Run
from workflows.registry import Registry
from workflows.runtime import Runtime, UpstreamFailed
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "token-of-the-launch-1234"


class Talk(State):
    words: tuple[str, ...] = ("one", "two", "three")
    answers: tuple[str, ...] = ()
    result: str = ""


@node
async def greet(state: Talk, runtime: Runtime) -> Talk:
    reply = await runtime.agents.chat("writer", "Hello?")
    return state.set(result=reply.text)


@node(retry=Retry(attempts=2, on=UpstreamFailed, wait=0))
async def describe(state: Talk, runtime: Runtime) -> Talk:
    text = ""
    async for piece in runtime.agents.chat_stream("writer", "Tell me."):
        text += piece
    return state.set(result=text)


@node
async def answer_one(word: str, runtime: Runtime) -> str:
    return (await runtime.agents.chat("writer", word)).text


answer_all = parallel(answer_one, over="words", into="answers", limit=1)

greeting = Workflow("greeting", state=Talk, start=greet, routes={greet: describe})
telling = Workflow("telling", state=Talk, start=describe, routes={})
answering = Workflow("answering", state=Talk, start=answer_all, routes={})

registry = Registry()
for one in (greeting, telling, answering):
    registry.register(one)
system = System(registry)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(service, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(service, "JITTER_SECONDS", 0.0)
    with ModelServer() as running:
        make_agent(running)
        Price.objects.create(model="tiny", per_million_in=1_000, per_million_out=2_000)
        yield running


async def launch(name: str, **given: Any) -> Run:
    return await run_in_db(system.execute, name, **given)


async def test_calls_are_recorded_on_their_stages_and_summed(
    server: ModelServer,
) -> None:
    server.script(Answer("Good day."), failing(503), Answer("Once upon a time."))
    async with working(registry):
        run = await ended((await launch("greeting")).pk)
    assert run.result is not None
    assert run.result["result"] == "Once upon a time. "
    first, second = await run_in_db(list, AgentCall.objects.all())
    assert (first.run_id, first.attempt, first.sequence) == (run.pk, 1, 1)
    assert (first.kind, first.agent_name, first.model) == ("chat", "writer", "tiny")
    assert (first.tokens_in, first.tokens_out, first.tries) == (7, 5, 1)
    assert first.cost == Decimal("0.017")
    assert (second.kind, second.sequence, second.tries) == ("chat_stream", 2, 2)
    stages = await run_in_db(usage.of_stages, run.pk)
    assert {place: one.tokens for place, one in stages.items()} == {
        (1, 1): 12,
        (1, 2): 12,
    }
    whole = await run_in_db(usage.of_run, run.pk)
    assert (whole.calls, whole.tokens, whole.cost) == (2, 24, Decimal("0.034"))
    assert await run_in_db(usage.of_runs, [run.pk]) == {run.pk: whole}
    assert whole.columns()["tokens_out"] == 10


async def test_usage_survives_the_deletion_of_the_run(
    server: ModelServer,
) -> None:
    async with working(registry):
        run = await ended((await launch("greeting")).pk)
    await run_in_db(system.delete_run, run.pk, by=None)
    assert (await run_in_db(usage.of_workflow, "greeting")).calls == 2


async def test_a_call_that_fails_is_recorded_with_the_reason_and_the_node_retries(
    server: ModelServer,
) -> None:
    server.script(failing(500, "Broken."), Answer("Once upon a time."))
    async with working(registry):
        run = await ended((await launch("telling")).pk)
    assert run.status == "completed"
    first, second = await run_in_db(list, AgentCall.objects.all())
    assert (first.status, first.error_code) == ("failed", "upstream_failed")
    assert "failed (500): Broken." in first.error_message
    assert (second.status, second.sequence) == ("completed", 1)


async def test_each_item_of_a_parallel_node_has_its_calls(server: ModelServer) -> None:
    async with working(registry):
        run = await ended((await launch("answering")).pk)
    calls = await run_in_db(list, AgentCall.objects.filter(run=run.pk))
    assert [call.item for call in calls] == [0, 1, 2]


async def test_a_call_of_a_long_step_is_durable_before_the_step_ends(
    server: ModelServer,
) -> None:
    gate = Gate()
    server.script(Answer("first"), Answer("second", gate=gate))
    async with working(registry):
        run = await launch("answering")
        await asyncio.to_thread(gate.reached.wait, 20)
        await until(run.pk, lambda run: run.agent_calls.exists())
        gate.let()
        await ended(run.pk)


async def test_the_token_of_the_launch_is_used(server: ModelServer) -> None:
    async with working(registry):
        await ended((await launch("greeting", token=TOKEN)).pk)
    sent = {request.headers["authorization"] for request in server.requests}
    assert sent == {f"Bearer {TOKEN}"}


async def test_streamed_text_is_shown_until_the_call_ends(
    server: ModelServer,
) -> None:
    gate = Gate()
    server.script(Answer(pieces=["Once ", "upon\x00", "a time."], gate=gate))
    async with working(registry):
        run = await launch("telling")
        gate.let(2)
        await until(
            run.pk, lambda run: run.live_texts.filter(text="Once upon\ufffd").exists()
        )
        gate.let(1)
        await until(run.pk, lambda run: run.status == "failed" or run.is_ended)
    assert not await run_in_db(LiveText.objects.exists)


async def test_cancelling_a_run_in_mid_stream_closes_the_connection_within_a_second(
    server: ModelServer,
) -> None:
    gate = Gate()
    server.script(Answer(pieces=["Once ", "upon "], gate=gate))
    async with working(registry):
        run = await launch("telling")
        gate.let(1)
        await until(run.pk, lambda run: run.live_texts.exists())
        await run_in_db(system.cancel, run.pk, by=None, reason="enough")
        await asyncio.to_thread(server.wait_closed, 1.0)
        run = await ended(run.pk)
    assert run.status == "cancelled"
    call = await run_in_db(AgentCall.objects.get)
    assert (call.status, call.is_estimated, call.run_id) == ("cancelled", True, run.pk)
    assert not await run_in_db(LiveText.objects.exists)


async def test_streamed_text_of_a_lost_worker_is_discarded(
    server: ModelServer,
) -> None:
    run = await launch("telling")
    left = LiveText(id=run.pk, run=run, attempt=1, sequence=1, agent_name="writer")
    await run_in_db(left.save, force_insert=True)
    await run_in_db(Run.objects.filter(pk=run.pk).update, attempt=1)
    async with working(registry):
        await ended(run.pk)
    assert not await run_in_db(LiveText.objects.exists)
