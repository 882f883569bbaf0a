"""A run whose nodes write its token wherever nodes can write: it is recorded as “•••”."""

from __future__ import annotations

import asyncio
import html
import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from project.log import LineFormatter
from tests.infra.test_secrets import everything_stored
from tests.support.agent_rows import make_agent
from tests.support.openai_server import Answer, Gate, ModelServer, failing
from tests.support.workers import TIMEOUT_SECONDS, ended, reaches, working
from workflows.agents.provider_api import service
from workflows.engine import (
    Retry,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    predicate,
    subworkflow,
    when,
)
from workflows.execution import stream_preview
from workflows.execution.masking import MASK, Masker
from workflows.execution.stream_preview import LiveStreamPreview
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall, Checkpoint, Level, LogLine, Run
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.runtime.errors import ProviderError
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = 'token+of "one" läunch'  # has other forms in JSON and in an address
SECRET_TEXT = "key/ä \"&' +\n\\end"
SENT = 'token/of"one"launch'  # valid in a request to a provider
tries: list[int] = []
own_logger = logging.getLogger("tests.spills")


class Review(BaseModel):
    fine: bool = True


class Spilled(State):
    spilled: str = ""
    items: tuple[int, ...] = (1, 2)
    kept: tuple[str, ...] = ()
    review: Review | None = None


@predicate("it has {s.spilled}")
def has_spilled(state: Spilled) -> bool:
    return not state.spilled


@node(retry=Retry(attempts=2, wait=0))
def spill(state: Spilled, runtime: Runtime) -> Spilled:
    token = state.secret("token")
    if not tries:
        tries.append(1)
        runtime.logger.info("the token is %s", token)
        own_logger.warning("the token is %s", token)
        raise ValueError(f"the first try used {token}")
    return state.set(spilled=token)


def item_of(number: int, runtime: Runtime) -> str:
    return f"{number} {TOKEN}"


@node
def fails(state: Spilled) -> Spilled:
    raise RuntimeError(f"refused: {state.secret('token')}") from ValueError(TOKEN)


spill_items = parallel(item_of, over="items", into="kept", name="spill-items")
ask = approval(
    "Is {s.spilled} right?",
    Review,
    "review",
    name="ask",
    show=lambda state: {"spilled": state.spilled},
)
workflow = Workflow(
    "spilling",
    state=Spilled,
    start=spill,
    routes={
        spill: [when(has_spilled, fails), otherwise(spill_items)],
        spill_items: ask,
        ask: fails,
    },
)
registry = Registry()
registry.register(workflow)
system = System(registry)


async def test_a_token_is_masked_in_every_record_of_a_run(admin: User) -> None:
    tries.clear()
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    handler.setFormatter(LineFormatter())
    logging.getLogger().addHandler(handler)
    try:
        async with working(registry):
            launched = await run_in_db(system.execute, "spilling", token=TOKEN)
            await reaches(launched.pk, "waiting")
            await run_in_db(system.respond, launched.pk, {}, by=admin, comment="It is.")
            run = await ended(launched.pk)
    finally:
        logging.getLogger().removeHandler(handler)
    assert run.status == "failed"
    assert run.error_message.endswith(f"refused: {MASK}")
    stored = await run_in_db(everything_stored)
    for text in (stored, printed.getvalue()):
        assert MASK in text
        for secret in (TOKEN, "token+of", "token%2Bof", r"l\u00e4unch"):
            assert secret not in text
    checkpoints = await run_in_db(list, Checkpoint.objects.filter(run=run))
    assert any(r"\u2022\u2022\u2022" in row.data for row in checkpoints)
    assert await run_in_db(Run.objects.filter(secrets=None).count) == 1


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_a_secret_of_a_few_characters_is_not_masked(secret: str) -> None:
    assert Masker([secret]).text("abc and a cat") == "abc and a cat"


def test_the_longer_of_two_overlapping_secrets_is_masked_completely() -> None:
    assert Masker(["secret", "secret-and-more"]).text("secret-and-more") == MASK


class ChildParams(BaseModel):
    note: str = ""
    token: str = ""


class Child(State):
    params: ChildParams


class Parent(State):
    params: ChildParams = ChildParams()
    answer: str = ""


@node
async def stream(state: Parent, runtime: Runtime) -> Parent:
    pieces = [p async for p in runtime.agents.chat_stream("writer", "Tell me.")]
    return state.set(answer="".join(pieces))


@node
async def refused(state: Parent, runtime: Runtime) -> Parent:
    try:
        await runtime.agents.chat("writer", f"Is {SENT} right?")
    except ProviderError:
        return state
    raise AssertionError("the call was to be refused")


@node
def give_back(state: Child) -> Child:
    return state


start_child = subworkflow(
    "spilled-child",
    lambda state: {"note": f"use {state.secret('token')}", "token": SENT},
    lambda state, _result: state,
    name="start-child",
)
flows: list[Workflow[Any]] = [
    Workflow("spilled-child", state=Child, start=give_back, routes={}),
    Workflow("spilled-parent", state=Parent, start=start_child, routes={}),
    Workflow("spilled-stream", state=Parent, start=stream, routes={}),
    Workflow("spilled-refusal", state=Parent, start=refused, routes={}),
]
for flow in flows:
    registry.register(flow)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(service, "FIRST_WAIT_SECONDS", 0.001)
    with ModelServer() as running:
        make_agent(running)
        yield running


async def test_params_of_a_subworkflow_are_recorded_masked_and_the_log_names_them() -> (
    None
):
    async with working(registry):
        launched = await run_in_db(system.execute, "spilled-parent", token=SENT)
        run = await ended(launched.pk)
    assert run.status == "completed", run.error_message
    child = await run_in_db(Run.objects.get, parent=run)
    assert child.params == {"note": f"use {MASK}", "token": MASK}
    stored = await run_in_db(everything_stored)
    assert SENT not in stored
    assert "token/of" not in stored
    lines = await run_in_db(list, LogLine.objects.filter(run=run))
    (line,) = [one for one in lines if "spilled-child" in one.message]
    assert "params" in line.message
    assert line.level == Level.WARNING


async def test_streamed_text_of_an_agent_is_always_shown_masked(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_preview, "PAUSE_SECONDS", 0.0)
    shown: list[str] = []
    write = LiveStreamPreview._write  # noqa: SLF001 - what is written is gone at the end

    def spy(preview: LiveStreamPreview) -> None:
        shown.append(preview._row.text)  # noqa: SLF001
        write(preview)

    monkeypatch.setattr(LiveStreamPreview, "_write", spy)
    pieces = [*"The key is ", *SENT, " and ", SENT[:9], SENT[9:], " toke", "n."]
    gate = Gate()
    server.script(Answer("", pieces=pieces, gate=gate))
    async with working(registry):
        launched = await run_in_db(system.execute, "spilled-stream", token=SENT)
        for _ in pieces:
            before = len(shown)
            await asyncio.to_thread(gate.reached.wait, TIMEOUT_SECONDS)
            gate.let()
            with suppress(TimeoutError):  # two pieces may be shown at once
                async with asyncio.timeout(0.5):
                    while len(shown) == before:  # noqa: ASYNC110
                        await asyncio.sleep(0.005)
        run = await ended(launched.pk)
    assert run.status == "completed", run.error_message
    assert len(shown) > len(SENT) // 2
    assert any(text.startswith(f"The key is {MASK} and {MASK}") for text in shown)
    for text in shown:  # nor the begin of the secret
        assert "token/" not in text
        assert "launch" not in text


async def test_rows_written_with_a_record_through_the_orm_are_masked(
    server: ModelServer,
) -> None:
    echo = f"I do not like {SENT} nor {quote(SENT, safe='')}"
    server.script(failing(400, echo))
    async with working(registry):
        launched = await run_in_db(system.execute, "spilled-refusal", token=SENT)
        run = await ended(launched.pk)
    assert run.status == "completed", run.error_message
    call = await run_in_db(AgentCall.objects.get, run=run)
    assert MASK in call.error_message
    for secret in (SENT, "token/of", "of%22one"):
        assert secret not in call.error_message


def test_a_growing_text_withholds_the_possible_begin_of_a_secret() -> None:
    masker = Masker(["secret-one", "one-more"])
    assert masker.growing("a secret-one") == ("a •••", "")
    assert masker.growing("a secret-o") == ("a ", "secret-o")
    assert masker.growing("a secret-one-m") == ("a •••-m", "")
    assert masker.growing("a secre") == ("a ", "secre")
    assert masker.growing("plain") == ("plain", "")
    assert Masker([]).growing("a s") == ("a s", "")


@pytest.mark.parametrize(
    "form",
    [
        str,
        repr,
        json.dumps,
        partial(json.dumps, ensure_ascii=False),
        quote,
        quote_plus,
        partial(quote, safe=""),
        html.escape,
    ],
)
def test_a_secret_is_masked_in_each_encoding(form: Any) -> None:
    masker = Masker([SECRET_TEXT])
    text = form(SECRET_TEXT)
    for shown in (masker.text(text), masker.value({"a": [text]})["a"][0]):
        assert MASK in shown
        assert "key" not in shown
        assert "end" not in shown
