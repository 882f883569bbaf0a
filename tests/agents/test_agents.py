"""Agents, asked over HTTP at a scripted server: what is sent, what comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import BaseModel, Field

from tests.support.agent_rows import (
    KEY,
    AgentSetup,
    agent_setup,
    make_agent,
    make_provider,
)
from tests.support.openai_server import Answer, Gate, ModelServer, failing
from workflows.agents.lookup import cost_of
from workflows.agents.provider_api import service
from workflows.infra.database_threads import run_in_db
from workflows.models import Agent, Kind, Price
from workflows.runtime import (
    AuthenticationFailed,
    Invalid,
    InvalidResponse,
    Message,
    NotFound,
    ProviderError,
    TimedOut,
    ToolCall,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n rest"


class Verdict(BaseModel):
    label: str
    confidence: float = Field(ge=0, le=1)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def writer(server: ModelServer) -> Agent:
    return make_agent(server)


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentSetup]:
    monkeypatch.setattr(service, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(service, "JITTER_SECONDS", 0.0)
    made = agent_setup()
    yield made
    await made.clients.close()


# Chat --------------------------------------------------------------------------------


async def test_a_chat_returns_the_response_and_its_usage(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(Answer("Good day."))
    reply = await here.agents.chat("writer", "Hello?")
    assert (reply.text, reply.model) == ("Good day.", "tiny")
    assert (reply.tokens_in, reply.tokens_out) == (7, 5)
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["messages"] == [{"role": "user", "content": "Hello?"}]
    [call] = here.ledger.calls
    assert (call.kind, call.status, call.usage.tries) == ("chat", "completed", 1)


async def test_prompt_and_options_of_the_agent_are_sent_and_a_call_can_override_them(
    server: ModelServer, here: AgentSetup
) -> None:
    await run_in_db(
        make_agent,
        server,
        system_prompt="Be brief.",
        options={"temperature": 0.2, "seed": 1},
    )
    await here.agents.chat("writer", "Hello?", temperature=0.9, num_ctx=4096)
    [request] = server.requests
    assert request.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert request.body["temperature"] == 0.9
    assert (request.body["seed"], request.body["num_ctx"]) == (1, 4096)


async def test_a_system_prompt_in_the_conversation_replaces_that_of_the_agent(
    server: ModelServer, here: AgentSetup
) -> None:
    await run_in_db(make_agent, server, system_prompt="Be brief.")
    messages = [
        Message("system", "Be long."),
        Message("assistant", "", tool_calls=(ToolCall("c1", "weather", {"at": "X"}),)),
        Message("tool", "rain", tool_call_id="c1"),
    ]
    await here.agents.chat("writer", messages)
    sent = server.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["system", "assistant", "tool"]
    assert sent[0]["content"] == "Be long."
    assert sent[1]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"at": "X"}',
    }
    assert sent[2]["tool_call_id"] == "c1"


async def test_a_token_from_the_launch_or_the_call_overrides_the_stored_key(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    launched = agent_setup("at-launch")
    await launched.agents.chat("writer", "Hello?")
    await launched.agents.chat("writer", "Hello?", token="of-the-call")
    await launched.clients.close()
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer at-launch", "Bearer of-the-call"]


async def test_connections_are_reused(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    for _ in range(3):
        await here.agents.chat("writer", "Hello?")
    assert server.connections == 1


async def test_azure_requests_use_the_deployment_url_and_the_api_key_header(
    server: ModelServer, here: AgentSetup
) -> None:
    provider = await run_in_db(
        make_provider,
        server,
        kind=Kind.AZURE,
        base_url=server.url.removesuffix("/v1"),
        api_version="2025-01-01",
    )
    await run_in_db(make_agent, server, provider=provider, model="gpt-x")
    await here.agents.chat("writer", "Hello?")
    [request] = server.requests
    assert request.path == (
        "/openai/deployments/gpt-x/chat/completions?api-version=2025-01-01"
    )
    assert request.headers["api-key"] == KEY
    assert KEY not in request.headers.get("authorization", "")


async def test_missing_token_counts_are_estimated(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(Answer("x" * 40, usage=None))
    await here.agents.chat("writer", "y" * 8)
    usage = here.ledger.calls[0].usage
    assert (usage.tokens_in, usage.tokens_out, usage.is_estimated) == (2, 10, True)


async def test_without_a_name_the_default_agent_is_called(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    await here.agents.chat("", "the only one")
    await run_in_db(make_agent, server, "judge", is_default=True, model="large")
    await here.agents.chat("", "the marked one")
    assert [request.body["model"] for request in server.requests] == ["tiny", "large"]


# Streams -----------------------------------------------------------------------------


async def test_a_stream_yields_and_shows_pieces_as_they_arrive(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    gate = Gate()
    server.script(Answer(pieces=["Good ", "day", "."], gate=gate))
    pieces = here.agents.chat_stream("writer", "Hello?")
    gate.let()
    assert await anext(pieces) == "Good "
    assert here.ledger.shown[0].text == "Good "
    assert here.ledger.calls == []
    gate.let(2)
    assert [piece async for piece in pieces] == ["day", "."]
    [call] = here.ledger.calls
    assert (call.status, call.usage.tokens_in, call.usage.tokens_out) == (
        "completed",
        7,
        5,
    )
    assert here.ledger.shown[0].is_over
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_a_broken_stream_fails_and_its_usage_is_counted(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(Answer(pieces=["Good ", "day"], breaks_after=1))
    pieces = here.agents.chat_stream("writer", "Hello?")
    assert await anext(pieces) == "Good "
    with pytest.raises(UpstreamFailed, match="broke off"):
        await anext(pieces)
    [call] = here.ledger.calls
    assert (call.status, call.usage.is_estimated) == ("failed", True)
    assert call.usage.tokens_out == 2


async def test_a_stream_is_retried_before_its_first_piece(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(failing(503), Answer("Good day."))
    pieces = [piece async for piece in here.agents.chat_stream("writer", "Hello?")]
    assert "".join(pieces) == "Good day. "
    assert here.ledger.calls[0].usage.tries == 2


async def test_a_reader_that_stops_closes_the_connection(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    gate = Gate()
    server.script(Answer(pieces=["a", "b", "c"], gate=gate))
    pieces = here.agents.chat_stream("writer", "Hello?")
    gate.let()
    await anext(pieces)
    await pieces.aclose()
    await asyncio.to_thread(server.wait_closed, 1.0)
    assert here.ledger.calls[0].status == "cancelled"


@pytest.mark.parametrize("kind", ["chat", "chat_stream"])
async def test_a_cancelled_call_closes_the_connection_at_once(
    server: ModelServer, writer: Agent, here: AgentSetup, kind: str
) -> None:
    gate = Gate()
    server.script(Answer("never", gate=gate))

    async def ask() -> None:
        if kind == "chat":
            await here.agents.chat("writer", "Hello?")
        async for _ in here.agents.chat_stream("writer", "Hello?"):
            pass

    task = asyncio.create_task(ask())
    await asyncio.to_thread(gate.reached.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(server.wait_closed, 1.0)
    assert here.ledger.calls[0].status == "cancelled"


# Images, vectors --------------------------------------------------------------


async def test_images_are_sent_as_data_uris(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    await here.agents.vision("writer", "What is it?", [PNG, "data:image/jpeg;base64,x"])
    text, first, second = server.requests[0].body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    encoded = base64.b64encode(PNG).decode()
    assert first["image_url"] == {"url": f"data:image/png;base64,{encoded}"}
    assert second["image_url"] == {"url": "data:image/jpeg;base64,x"}


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "without an image"),
        ([b"%PDF-1.7"], "Image 1 is not a PNG"),
        ([PNG, "https://elsewhere/x.png"], "Image 2 is not a data URI"),
    ],
)
async def test_an_invalid_image_is_refused_before_the_call(
    server: ModelServer,
    writer: Agent,
    here: AgentSetup,
    images: list[bytes | str],
    says: str,
) -> None:
    with pytest.raises(Invalid, match=says):
        await here.agents.vision("writer", "What is it?", images)
    assert server.requests == []


async def test_vectors_are_returned_in_the_order_of_the_texts(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    assert await here.agents.embed("writer", ["a", "bcd"]) == ((1.0, 1.0), (3.0, 1.0))
    assert server.requests[0].path == "/v1/embeddings"
    assert server.requests[0].body["input"] == ["a", "bcd"]
    assert await here.agents.embed("writer", []) == ()
    server.script(Answer(vectors=[[1.0]]))
    with pytest.raises(InvalidResponse, match="1 vectors for 2 texts"):
        await here.agents.embed("writer", ["a", "b"])


# Answers as models -------------------------------------------------------------------


async def test_a_response_is_parsed_into_a_model_also_from_a_code_fence(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    fenced = (
        'Here you are:\n```json\n{"label": "SECRET", "confidence": 0.9}\n```\nFine?'
    )
    server.script(Answer(fenced))
    verdict = await here.agents.ask("writer", "Which label?", Verdict)
    assert verdict == Verdict(label="SECRET", confidence=0.9)
    schema = server.requests[0].body["messages"][0]["content"]
    assert '"confidence"' in schema


async def test_an_invalid_response_is_requested_again(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(
        Answer('{"label": "SECRET", "confidence": 7}'),
        Answer('{"label": "SECRET", "confidence": 0.7}'),
    )
    verdict = await here.agents.ask("writer", "Which label?", Verdict)
    assert verdict.confidence == 0.7
    messages = server.requests[1].body["messages"][-2:]
    assert messages[0] == {
        "role": "assistant",
        "content": '{"label": "SECRET", "confidence": 7}',
    }
    assert (
        "confidence: Input should be less than or equal to 1" in messages[1]["content"]
    )
    assert [call.kind for call in here.ledger.calls] == ["ask", "ask"]


async def test_a_response_that_stays_invalid_fails_with_the_errors(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(Answer("I would rather not."), Answer("No."))
    with pytest.raises(InvalidResponse, match=r"no valid Verdict.*contains no JSON"):
        await here.agents.ask("writer", "Which label?", Verdict)
    assert len(server.requests) == 2


# Failures ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_temporary_errors_are_retried(
    server: ModelServer, writer: Agent, here: AgentSetup, status: int
) -> None:
    server.script(failing(status), failing(status), Answer("At last."))
    reply = await here.agents.chat("writer", "Hello?")
    assert reply.text == "At last."
    assert here.ledger.calls[0].usage.tries == 3


async def test_a_retry_after_header_sets_the_delay(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(
        failing(429, headers={"Retry-After": "0.3"}),
        failing(429, headers={"Retry-After-Ms": "10"}),
        Answer("At last."),
    )
    began = time.monotonic()
    await here.agents.chat("writer", "Hello?")
    assert time.monotonic() - began >= 0.3  # at least: it may always take longer


async def test_a_long_retry_after_is_not_waited_for(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(failing(429, "Slow down", headers={"Retry-After": "600"}))
    with pytest.raises(UpstreamFailed, match=r"too many requests.*wait 600 s"):
        await here.agents.chat("writer", "Hello?")
    assert len(server.requests) == 1


async def test_the_last_error_states_the_number_of_tries(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(*[failing(503, "Overloaded")] * 4)
    with pytest.raises(
        UpstreamFailed, match=r"failed \(503\) in 4 attempts: Overloaded\."
    ):
        await here.agents.chat("writer", "Hello?")
    [call] = here.ledger.calls
    assert (call.status, call.usage.tries) == ("failed", 4)


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, Invalid, "refused the request"),
        (401, AuthenticationFailed, "did not accept the key"),
        (403, AuthenticationFailed, "did not accept the key"),
        (404, NotFound, "no such model or address"),
        (500, UpstreamFailed, "failed (500)"),
    ],
)
async def test_permanent_errors_are_not_retried(  # noqa: PLR0913, PLR0917 - a table
    server: ModelServer,
    writer: Agent,
    here: AgentSetup,
    status: int,
    kind: type[ProviderError],
    says: str,
) -> None:
    server.script(failing(status, f"Not with {KEY}"))
    with pytest.raises(kind) as caught:
        await here.agents.chat("writer", "Hello?")
    assert says in str(caught.value)
    assert KEY not in str(caught.value)
    assert "•••" in str(caught.value)
    assert caught.value.__suppress_context__
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "raw", [b"{broken", b"<html>", b"", b"[]", b'{"choices": null}', b'"x"']
)
async def test_a_malformed_response_fails_with_a_readable_message(
    server: ModelServer, writer: Agent, here: AgentSetup, raw: bytes
) -> None:
    server.script(Answer(raw=raw))
    with pytest.raises(InvalidResponse, match="“Local”"):
        await here.agents.chat("writer", "Hello?")


async def test_a_malformed_stream_fails_with_a_readable_message(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(
        Answer(raw=b"data: {broken\n\n", headers={"Content-Type": "text/event-stream"})
    )
    with pytest.raises(ProviderError, match="“Local”"):
        async for _ in here.agents.chat_stream("writer", "Hello?"):
            pass


async def test_a_timed_out_call_is_not_retried(
    server: ModelServer, here: AgentSetup
) -> None:
    provider = await run_in_db(make_provider, server, timeout_seconds=0.2)
    await run_in_db(make_agent, server, provider=provider)
    server.script(Answer("late", gate=Gate()))
    with pytest.raises(TimedOut, match="timed out"):
        await here.agents.chat("writer", "Hello?")
    assert here.ledger.calls[0].usage.tries == 1


async def test_an_unreachable_server_is_an_error_with_the_number_of_attempts(
    server: ModelServer, here: AgentSetup
) -> None:
    provider = await run_in_db(
        make_provider, server, base_url="http://127.0.0.1:9/v1", tries=2
    )
    await run_in_db(make_agent, server, provider=provider)
    with pytest.raises(UpstreamFailed, match="could not be reached in 2 attempts"):
        await here.agents.chat("writer", "Hello?")


async def test_each_missing_part_has_a_distinct_message(
    server: ModelServer, here: AgentSetup
) -> None:
    with pytest.raises(Unavailable, match="no provider of agents is set up"):
        await here.agents.chat("writer", "Hello?")
    agent = await run_in_db(make_agent, server, capabilities=["chat"])
    with pytest.raises(NotFound, match=r"no agent “judge”\. There is writer"):
        await here.agents.chat("judge", "Hello?")
    with pytest.raises(Unsupported, match="lacks a capability: vision"):
        await here.agents.vision("writer", "Hello?", [PNG])
    with pytest.raises(Invalid, match="prompt is empty"):
        await here.agents.chat("writer", "  ")
    with pytest.raises(Invalid, match="“model” is no option"):
        await here.agents.chat("writer", "Hello?", model="other")
    await run_in_db(make_agent, server, "judge")
    with pytest.raises(NotFound, match="none is marked as the default"):
        await here.agents.chat("", "Hello?")
    agent.is_enabled = False
    await run_in_db(agent.save)
    with pytest.raises(Unavailable, match="disabled"):
        await here.agents.chat("writer", "Hello?")
    assert server.requests == []


async def test_a_key_encrypted_with_another_secret_key_has_to_be_entered_again(
    writer: Agent, here: AgentSetup, settings: object
) -> None:
    settings.SECRET_KEY = "another" * 10  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="enter it again"):
        await here.agents.chat("writer", "Hello?")


# Keys and prices ---------------------------------------------------------------------


def test_a_stored_key_is_readable_by_no_one(writer: Agent) -> None:
    writer.refresh_from_db()
    stored = writer.provider.key
    assert stored is not None
    assert KEY.encode() not in bytes(stored)
    assert writer.provider.open_key() == KEY
    assert KEY not in json.dumps({**vars(writer.provider)}, default=repr)


def test_a_price_is_for_a_million_tokens(db: None) -> None:
    price = Price(model="tiny", per_million_in=2, per_million_out=8)
    cost = cost_of(price, 1_500_000, 250_000)
    assert cost == 5
    assert cost_of(None, 10, 10) is None
