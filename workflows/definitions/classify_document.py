"""Classify a document by its markings; ask a person when they leave a doubt."""

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
from workflows.definitions.markings.page_reading import (
    ENHANCED,
    PROMPTS,
    PageToRead,
    read_all_sources,
)
from workflows.engine import (
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

MAX_SHOWN_PAGES = 8  # pages that a reviewer is shown at once
PAGE_TIMEOUT_SECONDS = 900  # most of it spent waiting for other pages to be read


class Params(BaseModel):
    """What the person who launches it chooses."""

    document: DocumentRef = Field(
        title="Document", description="The PDF to classify; every page is read."
    )
    threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        title="Publish from",
        description="At or above this confidence the label is published without a "
        "question; below it, a person is asked. With 1, always.",
    )

    reject_below: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Reject below",
        description="Below this confidence a document whose pages were all read is "
        "rejected without a question. With 0, never.",
    )
    agent: AgentRef = Field(
        "",
        max_length=100,
        title="Vision agent",
        description="A model that looks at every page as well. Without one, pages are "
        "read on this machine alone.",
    )


class Review(BaseModel):
    """What the reviewer decides."""

    outcome: Literal["publish", "reject"] = Field(
        title="Outcome", description="Publish the document with a label, or reject it."
    )
    level: Level | None = Field(
        None,
        title="Another level",
        description="If the label is wrong, or none was found: the level it bears.",
    )
    caveats: str = Field(
        "",
        max_length=200,
        title="Its caveats",
        description="With another level: what it adds, as in NOFORN//REL TO USA, GBR.",
    )


class Result(BaseModel):
    """What the run leaves behind."""

    outcome: Literal["published", "rejected"]
    score: Score
    label: str | None  # None: it was rejected
    confidence: float  # 0..1, of the label that was found
    decided_by: Literal["the markings", "a reviewer"]
    evidence: MarkedPages  # drawn on the run's page
    why: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    pages: tuple[PageSummary, ...]
    markings: tuple[MarkingSummary, ...]


class Classification(State):
    """What is known of the document so far."""

    params: Params
    name: str = ""  # of the document
    page_count: int = 0
    readings: tuple[PageReading, ...] = ()  # one per page
    reread: tuple[PageReading, ...] = ()  # of the pages that were looked at again
    level: Level | None = None  # None: no marking was found
    caveats: tuple[str, ...] = ()
    confidence: float = 0.0  # 0..1
    alternatives: tuple[Alternative, ...] = ()
    factors: tuple[Factor, ...] = ()
    why: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unread: tuple[int, ...] = ()  # pages without a text that could be read
    shown: tuple[int, ...] = ()  # pages that the reviewer is shown
    review: Review | None = None
    result: Result | None = None

    @property
    def label(self) -> str:
        """Return the label that was found, as in SECRET//NOFORN."""
        return label_of(self.level, self.caveats)

    @property
    def hard_to_read(self) -> tuple[int, ...]:
        """Return the pages that are worth a second look."""
        return tuple(reading.page for reading in self.readings if reading.is_unclear)

    @property
    def faint_pages_text(self) -> str:
        """Return which pages a second look may settle."""
        if not self.hard_to_read:
            return "no page needs a second look"
        return f"a second look may settle {page_numbers_text(self.hard_to_read)}"

    @property
    def unread_pages_text(self) -> str:
        """Return which pages could not be read."""
        if not self.unread:
            return "every page could be read"
        return f"nothing could be read on {page_numbers_text(self.unread)}"

    @property
    def contradictions_text(self) -> str:
        """Return what contradicts the label."""
        return " ".join(self.contradictions) or "nothing contradicts the label"

    @property
    def recommendation(self) -> Recommendation:
        """Return what should be done: only what leaves no doubt is accepted."""
        if self.unread or self.contradictions or self.level is None:
            return "REVIEW"
        if self.confidence >= self.params.threshold:
            return "ACCEPT"
        return "REJECT" if self.confidence < self.params.reject_below else "REVIEW"

    @property
    def confidence_text(self) -> str:
        """Return how sure the label is, and how sure it has to be."""
        if self.level is None:
            return "no marking was found"
        return (
            f"confidence {self.confidence:.0%}, threshold {self.params.threshold:.0%}"
        )

    @property
    def finding_text(self) -> str:
        """Return what the reviewer is asked, after the document's name."""
        if self.level is None:
            return "shows no marking that could be read. Does it bear one?"
        return f"looks {self.label}, {self.confidence:.0%} sure. Is that its label?"


@node(timeout=60)
async def open_document(state: Classification, runtime: Runtime) -> Classification:
    """Find the document and count its pages."""
    document = await runtime.documents.get(state.params.document)
    if not document.page_count:
        raise Unsupported(f"“{document.name}” has no pages to read: choose a PDF.")
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
    """Find the markings in the text of one page, and on its picture if it is a scan."""
    reading = await read_all_sources(item, runtime, enhanced=False)
    runtime.logger.info("Page %d: %s.", item.page, reading.summary)
    return reading


@node(timeout=PAGE_TIMEOUT_SECONDS)
async def read_page_again(item: PageToRead, runtime: Runtime) -> PageReading:
    """Look at a page longer: enhanced in several ways, for what is faint or missing."""
    reading = await read_all_sources(item, runtime, enhanced=True)
    runtime.logger.info("Page %d, looked at again: %s.", item.page, reading.summary)
    return reading


def faint_pages(state: Classification) -> list[PageToRead]:
    """Return the pages to look at again, drawn as the agent would like them."""
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
    """Weigh what all pages say into one label, with a confidence and alternatives."""
    reread = {reading.page: reading for reading in state.reread}
    readings = tuple(reread.get(first.page, first) for first in state.readings)
    verdict = weigh(readings)
    runtime.logger.info("%s: %.0f %% sure.", verdict.label, 100 * verdict.confidence)
    for sentence in verdict.why:
        runtime.logger.info(sentence)
    return state.merge({**dict(verdict), "readings": readings, "reread": ()})


@node(timeout=300)
async def draw_pages(state: Classification, runtime: Runtime) -> Classification:
    """Draw the pages that settle the doubt, for the reviewer to look at."""
    pages = pages_to_review(state.readings, state.unread, MAX_SHOWN_PAGES)
    for page in pages:
        try:
            options = replace(SCREEN, pages=str(page))
            await runtime.images.render(state.params.document, options)
        except Invalid as error:
            runtime.logger.warning("Page %d has no picture: %s", page, error)
    runtime.logger.info("A reviewer should look at %s.", page_numbers_text(pages))
    return state.set(shown=pages)


@node
def publish(state: Classification, runtime: Runtime) -> Classification:
    """Publish the document with the label that was found, or the reviewer's own."""
    label = state.label
    if state.review is not None and state.review.level is not None:
        label = label_of(state.review.level, state.review.caveats.split("//"))
    runtime.logger.info("“%s” is published as %s.", state.name, label)
    return state.set(result=make_result(state, "published", label))


@node
def reject(state: Classification, runtime: Runtime) -> Classification:
    """Record that the document gets no label."""
    runtime.logger.info("“%s” is rejected; it gets no label.", state.name)
    return state.set(result=make_result(state, "rejected", None))


def make_result(
    state: Classification,
    outcome: Literal["published", "rejected"],
    label: str | None,
) -> Result:
    """Return the result, with all that speaks for and against the label."""
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
    """Return what the reviewer is shown: the reasons, and pages with their markings."""
    return {
        "recommendation": state.recommendation,
        "why": state.why,
        "alternatives": {a.label: f"{a.confidence:.0%}" for a in state.alternatives},
        **dict(marked_pages(state.params.document, state.readings, state.shown)),
    }


@predicate("{s.faint_pages_text}")
def is_hard_to_read(state: Classification) -> bool:
    """Tell whether a page is worth a second look."""
    return bool(state.hard_to_read)


@predicate("{s.unread_pages_text}")
def has_unread_pages(state: Classification) -> bool:
    """Tell whether a page may hold a marking that we could not read."""
    return bool(state.unread)


@predicate("{s.contradictions_text}")
def is_contradictory(state: Classification) -> bool:
    """Tell whether the document says two things about itself."""
    return bool(state.contradictions)


@predicate("{s.confidence_text}")
def is_confident(state: Classification) -> bool:
    """Tell whether the label may be published without a question."""
    return state.level is not None and state.confidence >= state.params.threshold


@predicate("{s.confidence_text}, rejected below {s.params.reject_below:.0%}")
def is_below_reject_threshold(state: Classification) -> bool:
    """Tell whether the label is too unsure to ask about."""
    return state.recommendation == "REJECT"


@predicate("the reviewer chose to {s.review.outcome}")
def was_approved(state: Classification) -> bool:
    """Tell whether the reviewer wants it published."""
    return state.review is not None and state.review.outcome == "publish"


read_pages = parallel(read_page, over=each_page, into="readings", limit=4)
read_pages_again = parallel(read_page_again, over=faint_pages, into="reread", limit=4)
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
    "weighs them into one label, and asks a person where they leave a doubt.",
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
