"""Recorded answers in the child runs of forks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import Field

from tests.support.agent_rows import make_agent
from tests.support.openai_server import Answer, ModelServer
from tests.support.workers import ended, working
from workflows.engine import (
    State,
    Workflow,
    node,
    otherwise,
    subworkflow,
    subworkflows,
    when,
)
from workflows.errors import ForkRefused
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall, Run
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)


class Word(State):
    text: str = "Hello"
    answer: str = ""


class Outer(State):
    text: str = "Hello"
    word: dict[str, Any] = Field(default_factory=dict)


class Talk(State):
    texts: tuple[str, ...] = ("Same?", "Same?")
    words: tuple[dict[str, Any], ...] = ()
    outer: dict[str, Any] = Field(default_factory=dict)
    note: str = ""


@node
async def say(state: Word, runtime: Runtime) -> Word:
    reply = await runtime.agents.chat("writer", state.text)
    return state.set(answer=reply.text)


@node
def begin(state: Talk) -> Talk:
    return state


word = Workflow("word", state=Word, start=say, routes={}, call_content=True)
inner = subworkflow(word, params=lambda s: {"text": s.text}, into="word", name="inner")
outer = Workflow("outer", state=Outer, start=inner, routes={})
each = subworkflows(
    word, over="texts", params=lambda text: {"text": text}, into="words", name="each",
    limit=1,
)  # fmt: skip
nested = subworkflow(
    outer, params=lambda _: {"text": "Deep?"}, into="outer", name="nested"
)
talk = Workflow("talk", state=Talk, start=begin, routes={begin: each, each: nested})


class Rounds(State):
    rounds: int = 1
    word: dict[str, Any] = Field(default_factory=dict)
    words: tuple[str, ...] = ()


@node
def start(state: Rounds) -> Rounds:
    return state


@node
def keep(state: Rounds) -> Rounds:
    return state.append("words", state.word["answer"])


def needs_more(state: Rounds) -> bool:
    return len(state.words) < state.rounds


@node
def finish(state: Rounds) -> Rounds:
    return state


asked = subworkflow(
    word, params=lambda _: {"text": "Again?"}, into="word", name="asked"
)
loop = Workflow(
    "loop",
    state=Rounds,
    start=start,
    routes={
        start: asked,
        asked: keep,
        keep: [when(needs_more, asked), otherwise(finish)],
    },
)
registry = Registry()
for declared in (word, outer, talk, loop):
    registry.register(declared)
system = System(registry)
ANSWERS = ("First.", "Second.", "Deep.")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running)
        running.script(*(Answer(text) for text in ANSWERS))
        yield running


async def origin_of() -> Run:
    async with working(registry):
        return await ended((await run_in_db(system.execute, "talk")).pk)


async def forked(origin: Run, step: int, **given: Any) -> Run:
    request = ForkRequest(step, **given)
    async with working(registry):
        fork = await run_in_db(system.fork, origin.pk, request, by=None)
        return await ended(fork.pk)


def answers(run: Run) -> list[str]:
    assert run.result is not None, run.error_message
    given = [one["answer"] for one in run.result["words"]]
    return [*given, run.result["outer"]["word"]["answer"]]


async def test_each_child_run_gets_the_answer_of_its_element_at_any_depth(
    server: ModelServer,
) -> None:
    origin = await origin_of()
    assert answers(origin) == list(ANSWERS)
    sent = len(server.requests)
    fork = await forked(origin, 1, replay=True)
    assert answers(fork) == list(ANSWERS)
    assert len(server.requests) == sent
    replays = AgentCall.objects.filter(replay="replayed").order_by("pk")
    rows = await run_in_db(list, replays.values_list("run__workflow_name", "tokens_in"))
    assert rows == [("word", 0)] * 3
    again = await forked(fork, 3, replay=True)
    assert answers(again) == list(ANSWERS)
    assert len(server.requests) == sent, "the child runs of a fork have copies"


async def test_an_edited_state_replays_the_child_runs_whose_prompts_are_the_same(
    server: ModelServer,
) -> None:
    origin = await origin_of()
    server.script(Answer("Third."))
    state = {**Talk().data, "texts": ["Same?", "Other?"], "note": "edited"}
    fork = await forked(origin, 1, replay=True, state=state)
    assert answers(fork) == ["First.", "Third.", "Deep."]
    fork = await run_in_db(lambda: Run.objects.get(pk=fork.pk))
    assert fork.result is not None
    assert fork.result["note"] == "edited"


async def test_an_answer_is_replayed_in_one_child_run_of_a_loop(
    server: ModelServer,
) -> None:
    async with working(registry):
        origin = await ended((await run_in_db(system.execute, "loop")).pk)
    state = {**Rounds().data, "rounds": 3}
    fork = await forked(origin, 1, replay=True, state=state)
    assert fork.result is not None, fork.error_message
    assert fork.result["words"] == list(ANSWERS), "two of them are new"


async def test_child_runs_call_again_unless_their_fork_replays(
    server: ModelServer,
) -> None:
    origin = await origin_of()
    server.script(*(Answer(text) for text in ("A", "B", "C")))
    fork = await forked(origin, 1)
    assert answers(fork) == ["A", "B", "C"]


async def test_a_fork_after_all_child_runs_with_answers_is_refused_a_replay(
    server: ModelServer,
) -> None:
    origin = await origin_of()
    preview = ForkRequest(3, replay=True)
    planned = await run_in_db(
        lambda: system.preview_fork(origin.pk, preview, by=None).plan
    )
    assert planned.recorded == 1
    await run_in_db(
        lambda: Run.objects.filter(workflow_name="outer").update(parent=None)
    )
    with pytest.raises(ForkRefused, match="recorded"):
        await run_in_db(lambda: system.preview_fork(origin.pk, preview, by=None))
