"""Reason about a question in three stages; think again where the conclusion is unsure."""

from __future__ import annotations

from pydantic import BaseModel, Field

from workflows.engine import State, Workflow, all_of, node, otherwise, predicate, when
from workflows.runtime import AgentRef, PromptProfile, Runtime

MAX_CHARACTERS = 50_000
PROMPTS = {
    "analyze": PromptProfile(
        prompt="You take a question apart before anyone answers it. List what is asked, "
        "what is known, what is assumed and what is missing. Do not answer it."
    ),
    "reason": PromptProfile(
        prompt="You reason step by step from an analysis. Number the steps, say what each "
        "rests on, and look for what speaks against it. Do not conclude yet."
    ),
    "conclude": PromptProfile(
        prompt="You draw the conclusion that the reasoning supports, and no more. Be "
        "honest about how sure it is."
    ),
}


class Params(BaseModel):
    """What the person who launches it asks."""

    question: str = Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        title="Question",
        json_schema_extra={"format": "multiline"},
    )
    context: str = Field(
        "",
        max_length=MAX_CHARACTERS,
        title="Facts",
        description="What is known and has to be taken into account.",
        json_schema_extra={"format": "multiline"},
    )
    confidence: float = Field(
        0.7,
        ge=0,
        le=1,
        title="Conclude from",
        description="A conclusion less sure than this is reasoned about again.",
    )
    rounds: int = Field(
        2,
        ge=1,
        le=5,
        title="Rounds",
        description="How often it reasons at most.",
    )
    agent: AgentRef = Field(
        "",
        title="Agent",
        description="Asked at every stage for which the profile names no other; left "
        "out, the default agent is.",
    )


class Conclusion(BaseModel):
    """What the agent concludes."""

    answer: str = Field(min_length=1)
    confidence: float = Field(ge=0, le=1, description="0 = a guess, 1 = certain")
    reasons: list[str] = Field(
        description="the reasons that carry it, most telling first"
    )
    doubts: list[str] = Field(default=[], description="what speaks against it")


class Reasoning(State):
    """What has been thought so far."""

    params: Params
    analysis: str = ""
    steps: str = ""  # the reasoning of the last round
    round: int = 0
    conclusion: Conclusion | None = None
    result: Conclusion | None = None

    @property
    def confidence_text(self) -> str:
        """Return how sure the conclusion is, and how sure it has to be."""
        confidence = self.conclusion.confidence if self.conclusion else 0
        return f"confidence {confidence:.0%}, wanted {self.params.confidence:.0%}"


@node(timeout=900)
async def analyze(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Take the question apart."""
    return state.set(
        analysis=await stream_answer("analyze", state, question(state), runtime)
    )


@node(timeout=900)
async def reason(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Reason from the analysis, and from what was doubtful the last time."""
    text = f"{question(state)}\n\nAnalysis:\n{state.analysis}"
    if state.conclusion is not None:
        doubts = "\n".join(state.conclusion.doubts) or "none was named"
        text += (
            f"\n\nAn earlier round came to “{state.conclusion.answer}”, which was not"
            f" sure enough. Its doubts:\n{doubts}"
        )
    steps = await stream_answer("reason", state, text, runtime)
    return state.set(steps=steps, round=state.round + 1)


@node(timeout=900)
async def conclude(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Draw the conclusion, with how sure it is."""
    prompt = runtime.profiles.prompt("conclude", PROMPTS["conclude"])
    text = f"{question(state)}\n\nReasoning:\n{state.steps}"
    conclusion = await runtime.agents.ask(
        prompt.agent or state.params.agent,
        prompt.messages(text),
        Conclusion,
        **prompt.options,
    )
    runtime.logger.info("Concluded with %.0f %%.", 100 * conclusion.confidence)
    return state.set(conclusion=conclusion)


@node
def finish(state: Reasoning) -> Reasoning:
    """Keep the last conclusion as the result."""
    return state.set(result=state.conclusion)


@predicate("{s.confidence_text}")
def is_unsure(state: Reasoning) -> bool:
    """Tell whether the conclusion is less sure than it has to be."""
    conclusion = state.conclusion
    return conclusion is None or conclusion.confidence < state.params.confidence


@predicate("round {s.round} of {s.params.rounds}")
def has_rounds_left(state: Reasoning) -> bool:
    """Tell whether it may reason once more."""
    return state.round < state.params.rounds


async def stream_answer(
    name: str, state: Reasoning, text: str, runtime: Runtime
) -> str:
    """Return what a stage answers; whoever watches the run reads along."""
    prompt = runtime.profiles.prompt(name, PROMPTS[name])
    pieces = [
        piece
        async for piece in runtime.agents.chat_stream(
            prompt.agent or state.params.agent, prompt.messages(text), **prompt.options
        )
    ]
    return "".join(pieces).strip()


def question(state: Reasoning) -> str:
    """Return the question with its facts."""
    context = (
        f"\n\nFacts:\n{state.params.context}" if state.params.context.strip() else ""
    )
    return f"Question:\n{state.params.question}{context}"


reasoning = Workflow(
    "reasoning",
    title="Reason about a question",
    description="Takes a question apart, reasons step by step and concludes; where the "
    "conclusion is unsure, it reasons again.",
    state=Reasoning,
    start=analyze,
    routes={
        analyze: reason,
        reason: conclude,
        conclude: [
            when(all_of(is_unsure, has_rounds_left), reason),
            otherwise(finish),
        ],
    },
    prompts=PROMPTS,
)
