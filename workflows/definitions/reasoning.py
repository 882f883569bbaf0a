"""Reason about a question in three steps; repeat while the confidence is too low."""

from __future__ import annotations

from pydantic import BaseModel, Field

from workflows.engine import State, Workflow, all_of, node, otherwise, predicate, when
from workflows.runtime import AgentRef, PromptProfile, Runtime

MAX_CHARACTERS = 50_000
PROMPTS = {
    "analyze": PromptProfile(
        prompt="You take a question apart before anyone answers it. List its parts, "
        "what is known, what is assumed and what is missing. Do not answer it."
    ),
    "reason": PromptProfile(
        prompt="You reason step by step from an analysis. Number the steps, say what each "
        "rests on, and search for evidence against it. Do not conclude yet."
    ),
    "conclude": PromptProfile(
        prompt="You draw the conclusion that the reasoning supports, and no more. Be "
        "honest about how sure it is."
    ),
}


class Params(BaseModel):
    """Launch parameters."""

    question: str = Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        title="Question",
        json_schema_extra={"format": "multiline"},
    )
    context: str = Field(
        "",
        max_length=MAX_CHARACTERS,
        title="Context",
        description="Background information to take into account.",
        json_schema_extra={"format": "multiline"},
    )
    confidence: float = Field(
        0.7,
        ge=0,
        le=1,
        title="Minimum confidence",
        description="Below this, another round runs.",
    )
    rounds: int = Field(
        2,
        ge=1,
        le=5,
        title="Maximum rounds",
        description="Limit of reasoning rounds.",
    )
    agent: AgentRef = Field(
        "",
        title="Agent",
        description="Used for prompts the profile doesn't override. Empty: default agent.",
    )


class Conclusion(BaseModel):
    """The agent's structured response."""

    answer: str = Field(min_length=1)
    confidence: float = Field(ge=0, le=1, description="0 = a guess, 1 = certain")
    reasons: list[str] = Field(description="the supporting reasons, strongest first")
    doubts: list[str] = Field(default=[], description="reasons against it")


class Reasoning(State):
    """State of the run."""

    params: Params
    analysis: str = ""
    steps: str = ""  # reasoning of the last round
    round: int = 0
    conclusion: Conclusion | None = None
    result: Conclusion | None = None

    @property
    def confidence_text(self) -> str:
        confidence = self.conclusion.confidence if self.conclusion else 0
        return f"confidence {confidence:.0%}, minimum {self.params.confidence:.0%}"


@node(timeout=900)
async def analyze(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Analyze the question without answering it."""
    return state.set(
        analysis=await stream_answer("analyze", state, question(state), runtime)
    )


@node(timeout=900)
async def reason(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Reason from the analysis and from the doubts of the previous round."""
    text = f"{question(state)}\n\nAnalysis:\n{state.analysis}"
    if state.conclusion is not None:
        doubts = "\n".join(state.conclusion.doubts) or "none were given"
        text += (
            f"\n\nAn earlier round concluded “{state.conclusion.answer}” with too little"
            f" confidence. Doubts:\n{doubts}"
        )
    steps = await stream_answer("reason", state, text, runtime)
    return state.set(steps=steps, round=state.round + 1)


@node(timeout=900)
async def conclude(state: Reasoning, runtime: Runtime) -> Reasoning:
    """Draw a conclusion with a confidence."""
    prompt = runtime.profiles.prompt("conclude", PROMPTS["conclude"])
    text = f"{question(state)}\n\nReasoning:\n{state.steps}"
    conclusion = await runtime.agents.ask(
        prompt.agent or state.params.agent,
        prompt.messages(text),
        Conclusion,
        **prompt.options,
    )
    runtime.logger.info(
        "Confidence of the conclusion: %.0f %%.", 100 * conclusion.confidence
    )
    return state.set(conclusion=conclusion)


@node
def finish(state: Reasoning) -> Reasoning:
    """Use the last conclusion as the result."""
    return state.set(result=state.conclusion)


@predicate("{s.confidence_text}")
def is_unsure(state: Reasoning) -> bool:
    """Whether the confidence is below the minimum."""
    conclusion = state.conclusion
    return conclusion is None or conclusion.confidence < state.params.confidence


@predicate("round {s.round} of {s.params.rounds}")
def has_rounds_left(state: Reasoning) -> bool:
    """Whether another round is allowed."""
    return state.round < state.params.rounds


async def stream_answer(
    name: str, state: Reasoning, text: str, runtime: Runtime
) -> str:
    """Return an agent's response to a prompt; the run's page shows it while it streams."""
    prompt = runtime.profiles.prompt(name, PROMPTS[name])
    pieces = [
        piece
        async for piece in runtime.agents.chat_stream(
            prompt.agent or state.params.agent, prompt.messages(text), **prompt.options
        )
    ]
    return "".join(pieces).strip()


def question(state: Reasoning) -> str:
    """Return the question with its context."""
    given = state.params.context
    context = f"\n\nContext:\n{given}" if given.strip() else ""
    return f"Question:\n{state.params.question}{context}"


reasoning = Workflow(
    "reasoning",
    title="Reason about a question",
    description="Analyzes a question, reasons step by step and concludes; repeats while "
    "the confidence is below the minimum.",
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
