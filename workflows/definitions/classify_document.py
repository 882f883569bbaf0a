"""Classify a document by its markings, with an approval when the result is uncertain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field

from workflows.definitions.markings import (
    Alternative,
    Factor,
    Level,
    MarkedPages,
    MarkingSummary,
    PageReading,
    PageSummary,
    Recommendation,
    Score,
    label_of,
    marked_pages,
    page_numbers_text,
    pages_to_review,
    summarize_markings,
    summarize_pages,
    weigh,
)
from workflows.definitions.markings.read_page import (
    ENHANCED,
    PROMPTS,
    PageToRead,
    read_all_sources,
)
from workflows.engine import (
    ParallelConfig,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    predicate,
    when,
)
from workflows.runtime import (
    SCREEN,
    AgentRef,
    DocumentRef,
    Invalid,
    Runtime,
    Unsupported,
)

MAX_SHOWN_PAGES = 8  # shown to the reviewer at once
PAGE_TIMEOUT_SECONDS = 900  # mostly time in the queue behind other pages


class Params(BaseModel):
    """Launch parameters."""

    document: DocumentRef = Field(
        title="Document", description="The PDF to classify; every page is read."
    )
    threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        title="Auto-publish at confidence ≥",
        description="At or above this confidence the label is published without "
        "approval; below it, a reviewer decides. 1: approval is always required.",
    )

    reject_below: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Auto-reject below",
        description="Below this confidence a document whose pages were all read is "
        "rejected without approval. 0: never.",
    )
    agent: AgentRef = Field(
        "",
        max_length=100,
        title="Vision agent",
        description="A vision model that reads each page image as well. Empty: pages are "
        "read on this server only.",
    )


class Review(BaseModel):
    """The reviewer's response."""

    outcome: Literal["publish", "reject"] = Field(
        title="Outcome", description="Publish the document with a label or reject it."
    )
    level: Level | None = Field(
        None,
        title="Correct level",
        description="Only if the label is wrong or missing: the level of the document.",
    )
    caveats: str = Field(
        "",
        max_length=200,
        title="Caveats",
        description="With a corrected level: its caveats, for example NOFORN//REL TO USA, GBR.",
    )


class Result(BaseModel):
    """Result of the run."""

    outcome: Literal["published", "rejected"]
    score: Score
    label: str | None  # None: rejected
    confidence: float  # 0..1, of the detected label
    decided_by: Literal["the markings", "a reviewer"]
    evidence: MarkedPages  # shown on the run's page
    why: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    pages: tuple[PageSummary, ...]
    markings: tuple[MarkingSummary, ...]


class Classification(State):
    """State of the run."""

    params: Params
    name: str = ""  # name of the document
    page_count: int = 0
    readings: tuple[PageReading, ...] = ()  # one per page
    reread: tuple[PageReading, ...] = ()  # pages that were read a second time
    level: Level | None = None  # None: no marking found
    caveats: tuple[str, ...] = ()
    confidence: float = 0.0  # 0..1
    alternatives: tuple[Alternative, ...] = ()
    factors: tuple[Factor, ...] = ()
    why: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unread: tuple[int, ...] = ()  # pages without readable text
    shown: tuple[int, ...] = ()  # pages shown to the reviewer
    review: Review | None = None
    result: Result | None = None

    @property
    def label(self) -> str:
        """Return the detected label, for example SECRET//NOFORN."""
        return label_of(self.level, self.caveats)

    @property
    def hard_to_read(self) -> tuple[int, ...]:
        """Return the pages that need a second reading."""
        return tuple(reading.page for reading in self.readings if reading.is_unclear)

    @property
    def faint_pages_text(self) -> str:
        if not self.hard_to_read:
            return "no page needs a second reading"
        return f"second reading of {page_numbers_text(self.hard_to_read)}"

    @property
    def unread_pages_text(self) -> str:
        if not self.unread:
            return "every page is readable"
        return f"no readable text on {page_numbers_text(self.unread)}"

    @property
    def contradictions_text(self) -> str:
        return " ".join(self.contradictions) or "no contradictions"

    @property
    def recommendation(self) -> Recommendation:
        """Return the recommended outcome; ACCEPT only without unread pages or contradictions."""
        if self.unread or self.contradictions or self.level is None:
            return "REVIEW"
        if self.confidence >= self.params.threshold:
            return "ACCEPT"
        return "REJECT" if self.confidence < self.params.reject_below else "REVIEW"

    @property
    def confidence_text(self) -> str:
        if self.level is None:
            return "no marking found"
        return (
            f"confidence {self.confidence:.0%}, threshold {self.params.threshold:.0%}"
        )

    @property
    def finding_text(self) -> str:
        """Return the approval question without the document's name."""
        if self.level is None:
            return "has no readable marking. Does it have one?"
        return (
            f"was classified as {self.label} ({self.confidence:.0%}). Is this correct?"
        )


@node(timeout=60)
async def open_document(state: Classification, runtime: Runtime) -> Classification:
    """Load the document and its page count."""
    document = await runtime.documents.get(state.params.document)
    if not document.page_count:
        raise Unsupported(f"“{document.name}” has no pages to read. Choose a PDF.")
    runtime.logger.info("“%s” has %d pages.", document.name, document.page_count)
    return state.set(name=document.name, page_count=document.page_count)


def each_page(state: Classification) -> list[PageToRead]:
    """Return the pages to read."""
    document, agent = state.params.document, state.params.agent
    return [
        PageToRead(document=document, page=page, agent=agent)
        for page in range(1, state.page_count + 1)
    ]


@node(timeout=PAGE_TIMEOUT_SECONDS)
async def read_page(item: PageToRead, runtime: Runtime) -> PageReading:
    """Find the markings in the text of a page and, for a scan, in its image."""
    reading = await read_all_sources(item, runtime, enhanced=False)
    runtime.logger.info("Page %d: %s.", item.page, reading.summary)
    return reading


@node(timeout=PAGE_TIMEOUT_SECONDS)
async def read_page_again(item: PageToRead, runtime: Runtime) -> PageReading:
    """Read an unclear page again from enhanced images."""
    reading = await read_all_sources(item, runtime, enhanced=True)
    runtime.logger.info("Page %d, second reading: %s.", item.page, reading.summary)
    return reading


def faint_pages(state: Classification) -> list[PageToRead]:
    """Return the pages to read again, with the image filters that the agent suggested."""
    return [
        PageToRead(
            document=state.params.document,
            page=reading.page,
            agent=state.params.agent,
            filters=reading.filters or ENHANCED,
        )
        for reading in state.readings
        if reading.is_unclear
    ]


@node
def weigh_markings(state: Classification, runtime: Runtime) -> Classification:
    """Combine the readings of all pages into one label with a confidence."""
    reread = {reading.page: reading for reading in state.reread}
    readings = tuple(reread.get(first.page, first) for first in state.readings)
    verdict = weigh(readings)
    runtime.logger.info(
        "%s: confidence %.0f %%.", verdict.label, 100 * verdict.confidence
    )
    for sentence in verdict.why:
        runtime.logger.info(sentence)
    return state.merge({**dict(verdict), "readings": readings, "reread": ()})


@node(timeout=300)
async def draw_pages(state: Classification, runtime: Runtime) -> Classification:
    """Render the pages that the reviewer needs."""
    pages = pages_to_review(state.readings, state.unread, MAX_SHOWN_PAGES)
    for page in pages:
        try:
            options = replace(SCREEN, pages=str(page))
            await runtime.images.render(state.params.document, options)
        except Invalid as error:
            runtime.logger.warning("Page %d cannot be rendered: %s", page, error)
    runtime.logger.info("Pages for the reviewer: %s.", page_numbers_text(pages))
    return state.set(shown=pages)


@node
def publish(state: Classification, runtime: Runtime) -> Classification:
    """Publish the document with the detected label or the reviewer's correction."""
    label = state.label
    if state.review is not None and state.review.level is not None:
        label = label_of(state.review.level, state.review.caveats.split("//"))
    runtime.logger.info("Published “%s” as %s.", state.name, label)
    return state.set(result=make_result(state, "published", label))


@node
def reject(state: Classification, runtime: Runtime) -> Classification:
    """Reject the document: it gets no label."""
    runtime.logger.info("Rejected “%s”: no label.", state.name)
    return state.set(result=make_result(state, "rejected", None))


def make_result(
    state: Classification,
    outcome: Literal["published", "rejected"],
    label: str | None,
) -> Result:
    """Return the result with the evidence for and against the label."""
    return Result(
        outcome=outcome,
        label=label,
        confidence=state.confidence,
        score=Score(
            overall_score=state.confidence,
            factors=state.factors,
            recommendation=state.recommendation,
        ),
        decided_by="a reviewer" if state.review else "the markings",
        evidence=marked_pages(
            state.params.document,
            state.readings,
            pages_to_review(state.readings, state.unread, MAX_SHOWN_PAGES),
        ),
        why=state.why,
        alternatives=state.alternatives,
        pages=summarize_pages(state.readings),
        markings=summarize_markings(state.readings),
    )


def evidence(state: Classification) -> dict[str, Any]:
    """Return what the reviewer sees: reasons, alternatives and pages with their markings."""
    return {
        "recommendation": state.recommendation,
        "why": state.why,
        "alternatives": {a.label: f"{a.confidence:.0%}" for a in state.alternatives},
        **dict(marked_pages(state.params.document, state.readings, state.shown)),
    }


@predicate("{s.faint_pages_text}")
def is_hard_to_read(state: Classification) -> bool:
    """Whether a page needs a second reading."""
    return bool(state.hard_to_read)


@predicate("{s.unread_pages_text}")
def has_unread_pages(state: Classification) -> bool:
    """Whether a page may hold a marking that could not be read."""
    return bool(state.unread)


@predicate("{s.contradictions_text}")
def is_contradictory(state: Classification) -> bool:
    """Whether markings of the document contradict each other."""
    return bool(state.contradictions)


@predicate("{s.confidence_text}")
def is_confident(state: Classification) -> bool:
    """Whether the label may be published without approval."""
    return state.level is not None and state.confidence >= state.params.threshold


@predicate("{s.confidence_text}, rejected below {s.params.reject_below:.0%}")
def is_below_reject_threshold(state: Classification) -> bool:
    """Whether the confidence is too low to ask for approval."""
    return state.recommendation == "REJECT"


@predicate("reviewer outcome: {s.review.outcome}")
def was_approved(state: Classification) -> bool:
    """Whether the reviewer chose to publish."""
    return state.review is not None and state.review.outcome == "publish"


# Four at once keep the readers of one computer busy; a cluster takes as many as it has room for.
PAGES_AT_ONCE = ParallelConfig(worker_cap=4)
read_pages = parallel(
    read_page, over=each_page, into="readings", config=PAGES_AT_ONCE, on="dask"
)
read_pages_again = parallel(
    read_page_again, over=faint_pages, into="reread", config=PAGES_AT_ONCE, on="dask"
)
ask_reviewer = approval(
    "“{s.name}” {s.finding_text}",
    answer=Review,
    into="review",
    show=evidence,
)

classify_document = Workflow(
    "classify-document",
    title="Classify a document",
    description="Finds the security and handling markings on every page of a PDF, "
    "combines them into one label and asks for approval if the result is uncertain.",
    state=Classification,
    start=open_document,
    routes={
        open_document: read_pages,
        read_pages: [
            when(is_hard_to_read, read_pages_again),
            otherwise(weigh_markings),
        ],
        read_pages_again: weigh_markings,
        weigh_markings: [
            when(has_unread_pages, draw_pages),
            when(is_contradictory, draw_pages),
            when(is_confident, publish),
            when(is_below_reject_threshold, reject),
            otherwise(draw_pages),
        ],
        draw_pages: ask_reviewer,
        ask_reviewer: [when(was_approved, publish), otherwise(reject)],
    },
    prompts=PROMPTS,
)
