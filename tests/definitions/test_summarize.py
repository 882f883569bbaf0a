"""Summarize and reasoning: in memory with scripted agents, and whole on a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.agent_rows import make_agent
from tests.support.openai_server import Answer, ModelServer
from tests.support.workers import ended, working
from workflows.agents import usage
from workflows.definitions.reasoning import PROMPTS as REASONING_PROMPTS
from workflows.definitions.reasoning import reasoning
from workflows.definitions.summarize import (
    MAX_CHARACTERS,
    PROMPTS,
    split_text,
    summarize,
)
from workflows.engine.testing import run_in_memory
from workflows.infra.database_threads import run_in_db
from workflows.models import Profile
from workflows.runtime import (
    AgentCall,
    FakeAgents,
    FakeDocuments,
    FakeProfiles,
    FakeRuntime,
    Message,
    PromptProfile,
)
from workflows.system import system

LONG = "\n\n".join(f"Paragraph {number}. " + "word " * 900 for number in range(6))


def said(call: AgentCall) -> list[str]:
    """Return the prompts of an agent, in order."""
    return [turn.content for turn in call.prompt if isinstance(turn, Message)]


# Summarize ---------------------------------------------------------------------------


def test_a_short_text_is_summarized_in_one_call() -> None:
    agents = FakeAgents(**{"": ["All is well."]})
    outcome = run_in_memory(
        summarize,
        {"text": "Everything went fine.", "length": "a sentence", "language": "German"},
        runtime=FakeRuntime(agents=agents),
    )
    assert outcome.path == ["read_text", "write_summary"]
    result = outcome.state.result
    assert result is not None
    assert (result.summary, result.source, result.parts) == (
        "All is well.",
        "the text",
        1,
    )
    [call] = agents.calls
    assert call.kind == "chat_stream"
    assert said(call) == [
        PROMPTS["summary"].prompt,
        "Summarize this in one sentence in German:\n\nEverything went fine.",
    ]


def test_a_long_text_is_summarized_part_by_part() -> None:
    count = len(split_text(LONG.strip()))
    notes = [f"Note {number}." for number in range(count)]
    agents = FakeAgents(judge=[*notes, "In short."])
    outcome = run_in_memory(
        summarize, {"text": LONG, "agent": "judge"}, runtime=FakeRuntime(agents=agents)
    )
    assert outcome.path == ["read_text", "summarize_parts", "write_summary"]
    assert "part limit 12,000" in outcome.decisions[0].reason
    assert outcome.state.notes == tuple(notes)
    assert "Note 0.\n\nNote 1." in said(agents.calls[-1])[-1]


def test_a_document_is_read_and_a_scan_is_refused() -> None:
    documents = FakeDocuments()
    memo = documents.add("memo.pdf", ["The plan is good.", "It starts in May."])
    scan = documents.add("scan.pdf", [""])
    agents = FakeAgents(**{"": ["A plan for May."]})
    runtime = FakeRuntime(agents=agents, documents=documents)
    outcome = run_in_memory(summarize, {"document": memo}, runtime=runtime)
    assert outcome.state.result is not None
    assert outcome.state.result.source == "memo.pdf"
    assert "It starts in May." in said(agents.calls[0])[-1]
    refused = run_in_memory(summarize, {"document": scan}, runtime=runtime)
    assert refused.status == "failed"
    assert "has no text layer to summarize" in str(refused.error)


@pytest.mark.parametrize("params", [{}, {"text": "  "}])
def test_either_a_text_or_a_document_is_needed(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either a text or a document"):
        summarize.initial(params)


def test_a_profile_sets_the_agent_and_options_of_a_prompt() -> None:
    agents = FakeAgents(judge=["Fine."])
    profiles = FakeProfiles(
        summary=PromptProfile("judge", "Rhyme.", {"temperature": 0.9})
    )
    run_in_memory(
        summarize,
        {"text": "Hello.", "agent": "writer"},
        runtime=FakeRuntime(agents=agents, profiles=profiles),
    )
    [call] = agents.calls
    assert (call.agent, call.options) == ("judge", {"temperature": 0.9})
    assert said(call)[0] == "Rhyme."


@pytest.mark.parametrize(
    "text", ["", "short", LONG, "x" * (3 * MAX_CHARACTERS), "a b " * MAX_CHARACTERS]
)
def test_cutting_loses_nothing_but_white_space(text: str) -> None:
    parts = split_text(text.strip())
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(0 < len(part) <= MAX_CHARACTERS for part in parts)


# Reasoning ---------------------------------------------------------------------------


def concluded(confidence: float) -> dict[str, Any]:
    return {
        "answer": "Yes",
        "confidence": confidence,
        "reasons": ["it is so"],
        "doubts": ["it may not be"],
    }


def test_a_sure_conclusion_ends_it() -> None:
    agents = FakeAgents(**{"": ["Analysis.", "1. Step.", concluded(0.9)]})
    outcome = run_in_memory(
        reasoning, {"question": "Is it so?"}, runtime=FakeRuntime(agents=agents)
    )
    assert outcome.path == ["analyze", "reason", "conclude", "finish"]
    assert outcome.state.result is not None
    assert outcome.state.result.answer == "Yes"
    assert [call.kind for call in agents.calls] == ["chat_stream", "chat_stream", "ask"]
    assert "Analysis." in said(agents.calls[1])[-1]


def test_an_uncertain_conclusion_is_repeated_up_to_the_limit() -> None:
    answers = ["Analysis.", "1.", concluded(0.4), "2.", concluded(0.5)]
    agents = FakeAgents(**{"": answers})
    outcome = run_in_memory(
        reasoning,
        {"question": "Is it so?", "rounds": 2, "context": "It rains."},
        runtime=FakeRuntime(agents=agents),
    )
    assert outcome.path == ["analyze", *["reason", "conclude"] * 2, "finish"]
    assert "it may not be" in said(agents.calls[3])[-1]
    assert "It rains." in said(agents.calls[0])[-1]
    reasons = [decision.reason for decision in outcome.decisions]
    assert any("confidence 40%, minimum 70%" in reason for reason in reasons)


# Whole -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running)
        make_agent(running, "judge", model="large")
        yield running


@pytest.mark.django_db(transaction=True)
async def test_summarize_completes_with_a_profile(server: ModelServer) -> None:
    await run_in_db(
        Profile.objects.create,
        workflow_name="summarize",
        name="two agents",
        stages={"part": {"agent": "judge"}},
    )
    async with working():
        run = await run_in_db(
            system.execute,
            "summarize",
            {"text": LONG, "agent": "writer"},
            profile="two agents",
        )
        run = await ended(run.pk)
    assert run.status == "completed", run.error_message
    models = [request.body["model"] for request in server.requests]
    assert models == [*["large"] * (len(models) - 1), "tiny"]
    assert run.result is not None
    assert run.result["result"]["summary"].startswith("You said: Summarize this")
    stages = await run_in_db(usage.of_stages, run.pk)
    assert [stages[1, place].calls for place in (2, 3)] == [len(models) - 1, 1]


@pytest.mark.django_db(transaction=True)
async def test_reasoning_completes(server: ModelServer) -> None:
    server.script(
        Answer("Analysis."),
        Answer("1. Step."),
        Answer(f"```json\n{json.dumps(concluded(0.9))}\n```"),
    )
    async with working():
        run = await run_in_db(
            system.execute, "reasoning", {"question": "Is it so?", "agent": "judge"}
        )
        run = await ended(run.pk)
    assert run.result is not None
    assert run.result["result"]["answer"] == "Yes"
    assert set(run.profile_stages) == set(REASONING_PROMPTS)
    assert len(server.requests) == 3
