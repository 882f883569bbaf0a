"""Summarize a text or a document; long texts in parts that are then combined."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from workflows.engine import State, Workflow, node, otherwise, parallel, predicate, when
from workflows.runtime import AgentRef, DocumentRef, PromptProfile, Runtime, Unsupported

MAX_CHARACTERS = 12_000  # limit of a text summarized in one call, and of one part
MAX_TEXT_CHARS = 2_000_000  # text beyond this is ignored
LENGTHS = {
    "a sentence": "one sentence",
    "a paragraph": "one paragraph of at most 120 words",
    "a page": "at most 400 words, with a heading for each topic",
}
PROMPTS = {
    "part": PromptProfile(
        prompt="You summarize one part of a longer text. Keep names, numbers, dates and "
        "decisions; leave out repetition. Write plain sentences, at most 150 words. "
        "Say only what the part says."
    ),
    "summary": PromptProfile(
        prompt="You summarize texts for busy colleagues. Say first what matters most. "
        "Keep names, numbers and dates exact. Say only what the text says, and nothing "
        "about yourself."
    ),
}


class Params(BaseModel):
    """Launch parameters."""

    text: str = Field(
        "",
        max_length=MAX_TEXT_CHARS,
        title="Text",
        description="The text to summarize. Alternatively, choose a document.",
        json_schema_extra={"format": "multiline"},
    )
    document: DocumentRef | None = Field(
        None,
        title="Document",
        description="A PDF with a text layer, instead of a text.",
    )
    length: Literal["a sentence", "a paragraph", "a page"] = Field(
        "a paragraph", title="Length"
    )
    language: str = Field(
        "",
        max_length=40,
        title="Language",
        description="Language of the summary. Empty: the language of the text.",
    )
    agent: AgentRef = Field(
        "",
        title="Agent",
        description="Used for prompts the profile doesn't override. Empty: default agent.",
    )

    @model_validator(mode="after")
    def _has_one_text(self) -> Params:
        if bool(self.text.strip()) == (self.document is not None):
            raise ValueError("Enter either a text or a document.")
        return self


class Result(BaseModel):
    """Result of the run."""

    summary: str
    source: str  # the document's name, or "the text"
    characters: int  # length of the source
    parts: int  # number of parts


class Summarizing(State):
    """State of the run."""

    params: Params
    source: str = "the text"
    characters: int = 0
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # one summary per part of a long text
    result: Result | None = None

    @property
    def length_text(self) -> str:
        return f"{self.characters:,} characters, part limit {MAX_CHARACTERS:,}"


@node(timeout=120)
async def read_text(state: Summarizing, runtime: Runtime) -> Summarizing:
    """Load the text and split it into parts if it is long."""
    source, text = "the text", state.params.text
    if state.params.document is not None:
        source = (await runtime.documents.get(state.params.document)).name
        pages = await runtime.documents.pages(state.params.document)
        text = "\n\n".join(page.text for page in pages)
        if not text.strip():
            raise Unsupported(
                f"“{source}” has no text layer to summarize. It may be a scan."
            )
    text = text.strip()[:MAX_TEXT_CHARS]
    parts = split_text(text)
    runtime.logger.info("%s: %d characters.", source, len(text))
    return state.set(source=source, characters=len(text), parts=parts)


def split_text(text: str, limit: int = MAX_CHARACTERS) -> tuple[str, ...]:
    """Return a text in parts of at most `limit` characters, split between paragraphs.

    A paragraph that is too long is split between words, a word only if necessary.
    """
    parts = []
    while len(text) > limit:
        window = text[: limit + 1]
        candidates = (window.rfind("\n\n"), window.rfind("\n"), window.rfind(" "))
        at = next(
            (candidate for candidate in candidates if candidate > limit // 2), limit
        )
        parts.append(text[:at].strip())
        text = text[at:].strip()
    return tuple(filter(None, [*parts, text]))


@predicate("{s.length_text}")
def is_long(state: Summarizing) -> bool:
    """Whether the text is summarized in parts."""
    return len(state.parts) > 1


class Part(BaseModel):
    """One part of a long text, with its agent."""

    text: str
    agent: str


def each_part(state: Summarizing) -> list[Part]:
    """Return the parts of the text."""
    return [Part(text=text, agent=state.params.agent) for text in state.parts]


@node(timeout=600)
async def summarize_part(part: Part, runtime: Runtime) -> str:
    """Summarize one part."""
    prompt = runtime.profiles.prompt("part", PROMPTS["part"])
    reply = await runtime.agents.chat(
        prompt.agent or part.agent, prompt.messages(part.text), **prompt.options
    )
    return reply.text.strip()


@node(timeout=900)
async def write_summary(state: Summarizing, runtime: Runtime) -> Summarizing:
    """Write the summary; the run's page shows it while it streams."""
    prompt = runtime.profiles.prompt("summary", PROMPTS["summary"])
    text = "\n\n".join(state.notes or state.parts)
    pieces = [
        piece
        async for piece in runtime.agents.chat_stream(
            prompt.agent or state.params.agent,
            prompt.messages(f"{instruction(state.params)}\n\n{text}"),
            **prompt.options,
        )
    ]
    result = Result(
        summary="".join(pieces).strip(),
        source=state.source,
        characters=state.characters,
        parts=len(state.parts),
    )
    return state.set(result=result)


def instruction(params: Params) -> str:
    """Return the instruction for the summary."""
    language = f" in {params.language}" if params.language else ""
    return f"Summarize this in {LENGTHS[params.length]}{language}:"


summarize_parts = parallel(summarize_part, over=each_part, into="notes", limit=4)

summarize = Workflow(
    "summarize",
    title="Summarize",
    description="Summarizes a text or a document with an agent; long texts in parts.",
    state=Summarizing,
    start=read_text,
    routes={
        read_text: [when(is_long, summarize_parts), otherwise(write_summary)],
        summarize_parts: write_summary,
    },
    prompts=PROMPTS,
)
