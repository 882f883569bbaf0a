"""classify-document publishes what is clear and asks a person about the rest."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from workflows.definitions.classify_document import (
    MAX_SHOWN_PAGES,
    Classification,
    Params,
    Review,
    ask_reviewer,
    classify_document,
    draw_pages,
    publish,
    read_page,
    reject,
    weigh_markings,
)
from workflows.definitions.markings import Level
from workflows.definitions.markings.read_page import PageToRead
from workflows.documents import pdf
from workflows.engine import Cancellation, Paused
from workflows.engine.testing import Outcome, run_in_memory
from workflows.runtime import (
    FakeAgents,
    FakeDocuments,
    FakeImages,
    FakeProfiles,
    FakeRuntime,
    ImageInfo,
    Page,
    PromptProfile,
    RenderOptions,
    UpstreamFailed,
)
from workflows.samples import samples

BODY = "\n\nThe survey of the basin was made in the spring and shows where boats lie.\n"
DOCUMENT = UUID("01900000-0000-7000-8000-000000000000")


def marked(label: str, body: str = BODY) -> str:
    """Return the text of a page with a marking at its head and foot."""
    rows = [label, *body.split("\n")]
    return "\n".join([*rows, *[""] * (59 - len(rows)), label])


def run(
    *pages: str | Page,
    runtime: FakeRuntime | None = None,
    answer: dict[str, Any] | None = None,
    threshold: float = 0.8,
    name: str = "memo.pdf",
) -> Outcome[Classification]:
    """Run it on a document of these pages; without an answer a question stays open."""
    runtime = runtime or FakeRuntime()
    document = runtime.documents.add(name, pages)
    return run_in_memory(
        classify_document,
        Params(document=document, threshold=threshold),
        runtime=runtime,
        answers={} if answer is None else {ask_reviewer: answer},
    )


def reason_for(outcome: Outcome[Any], source: str, predicate: str) -> tuple[bool, str]:
    """Return the result of a predicate when the run left a node."""
    (decision,) = [
        decision
        for decision in outcome.decisions
        if (decision.source, decision.predicate) == (source, predicate)
    ]
    return decision.result, decision.reason


# What is clear -----------------------------------------------------------------------


def test_a_document_with_equal_markings_on_every_page_is_published() -> None:
    outcome = run(marked("SECRET//NOFORN"), marked("SECRET//NOFORN"))
    assert outcome.status == "completed"
    assert outcome.path == ["open_document", "read_pages", "weigh_markings", "publish"]
    result = outcome.state.result
    assert result is not None
    assert (result.outcome, result.label) == ("published", "SECRET//NOFORN")
    assert result.decided_by == "the markings"
    assert result.confidence > 0.9
    assert reason_for(outcome, "weigh_markings", "is_confident") == (
        True,
        "confidence 99%, threshold 80%",
    )


def test_the_result_reports_every_page_and_the_places_of_its_markings() -> None:
    result = run(marked("SECRET"), marked("SECRET")).state.result
    assert result is not None
    assert [(page.page, page.label) for page in result.pages] == [
        (1, "SECRET"),
        (2, "SECRET"),
    ]
    header, footer = result.markings
    assert [position.page for position in header.locations] == [1, 2]
    assert header.locations[0].box.bottom < 0.1 < footer.locations[0].box.top


def test_the_log_describes_the_findings() -> None:
    runtime = FakeRuntime()
    run(marked("SECRET"), marked("SECRET"), runtime=runtime)
    assert "“memo.pdf” has 2 pages." in runtime.logger.text
    assert "Page 2: SECRET as header and footer" in runtime.logger.text
    assert "Published “memo.pdf” as SECRET." in runtime.logger.text
    assert {entry.node for entry in runtime.logger.entries} >= {"publish"}


def test_no_page_is_rendered_unless_a_review_needs_it() -> None:
    runtime = FakeRuntime()
    run(marked("SECRET"), runtime=runtime)
    assert runtime.images.rendered == []


# What is not -------------------------------------------------------------------------


def test_pages_that_contradict_each_other_are_shown_to_a_person() -> None:
    runtime = FakeRuntime()
    outcome = run(marked("SECRET"), marked("CONFIDENTIAL"), runtime=runtime)
    assert outcome.status == "waiting"
    result, reason = reason_for(outcome, "weigh_markings", "is_contradictory")
    assert result
    assert "page 1 says SECRET and page 2 says CONFIDENTIAL" in reason
    assert outcome.pause is not None
    assert outcome.pause.question.startswith("“memo.pdf” was classified as SECRET (")
    assert [page for _, page, _ in runtime.images.rendered] == [1, 2]


def test_the_review_shows_the_pages_with_their_markings_and_the_reasons() -> None:
    shown = shown_by(run(marked("SECRET"), marked("CONFIDENTIAL")))
    assert [page["page"] for page in shown["pages"]] == [1, 2]
    head = shown["pages"][0]["marks"][0]
    assert head["text"] == "SECRET (header)"
    assert 0 <= head["box"]["left"] < head["box"]["right"] <= 1
    assert any("disagree" in sentence for sentence in shown["why"])
    assert "CONFIDENTIAL" in shown["alternatives"]
    assert str(UUID(shown["document"])) == shown["document"]


def shown_by(outcome: Outcome[Any]) -> dict[str, Any]:
    """Return what the question shows, as it will be stored."""
    assert outcome.pause is not None
    stored: dict[str, Any] = json.loads(json.dumps(outcome.pause.show))
    return stored


def test_a_scan_is_always_reviewed_by_a_person() -> None:
    outcome = run("", "", threshold=0)
    assert outcome.status == "waiting"
    assert reason_for(outcome, "weigh_markings", "has_unread_pages") == (
        True,
        "no readable text on pages 1 and 2",
    )
    assert outcome.pause is not None
    assert "no readable marking" in outcome.pause.question


def test_a_single_page_without_text_requires_review() -> None:
    outcome = run(marked("SECRET"), "", marked("SECRET"))
    assert outcome.status == "waiting"
    assert 2 in outcome.state.shown


def test_a_document_without_markings_requires_review() -> None:
    outcome = run(BODY, BODY, threshold=0)
    assert outcome.status == "waiting"
    assert reason_for(outcome, "weigh_markings", "is_confident") == (
        False,
        "no marking found",
    )


@pytest.mark.parametrize(
    ("threshold", "status"), [(0.9, "waiting"), (0.5, "completed")]
)
def test_the_threshold_decides_what_is_sure_enough(
    threshold: float, status: str
) -> None:
    outcome = run(f"Confidential{BODY}", threshold=threshold)
    assert outcome.status == status
    result, reason = reason_for(outcome, "weigh_markings", "is_confident")
    assert result is (status == "completed")
    assert reason == f"confidence 80%, threshold {threshold:.0%}"


def test_a_reviewer_is_never_shown_more_pages_than_fit() -> None:
    outcome = run(*[""] * 50)
    assert len(outcome.state.shown) == MAX_SHOWN_PAGES


# What the person decides -------------------------------------------------------------


def test_an_approved_label_is_published_as_it_was_found() -> None:
    outcome = run(
        marked("SECRET"), marked("CONFIDENTIAL"), answer={"outcome": "publish"}
    )
    assert outcome.path[-2:] == ["ask_reviewer", "publish"]
    result = outcome.state.result
    assert result is not None
    assert (result.label, result.decided_by) == ("SECRET", "a reviewer")
    assert reason_for(outcome, "ask_reviewer", "was_approved") == (
        True,
        "reviewer outcome: publish",
    )


def test_a_reviewer_can_choose_another_label() -> None:
    answer = {
        "outcome": "publish",
        "level": "RESTRICTED",
        "caveats": "NOFORN // LIMDIS",
    }
    result = run("", answer=answer).state.result
    assert result is not None
    assert result.label == "RESTRICTED//NOFORN//LIMDIS"


def test_a_rejected_document_gets_no_label() -> None:
    outcome = run("", answer={"outcome": "reject"})
    assert outcome.path[-1] == "reject"
    result = outcome.state.result
    assert result is not None
    assert (result.outcome, result.label) == ("rejected", None)


@pytest.mark.parametrize(
    "answer",
    [{}, {"outcome": "perhaps"}, {"outcome": "publish", "level": "VERY SECRET"}],
)
def test_an_answer_that_does_not_fit_the_form_is_refused(
    answer: dict[str, str],
) -> None:
    with pytest.raises(ValidationError):
        Review.model_validate(answer)


# What may go wrong -------------------------------------------------------------------


def test_a_file_without_pages_fails_in_a_sentence() -> None:
    outcome = run(name="notes.txt")
    assert outcome.status == "failed"
    assert "“notes.txt” has no pages to read. Choose a PDF." in str(outcome.error)


def test_a_deleted_document_fails_the_run_with_a_readable_message() -> None:
    outcome = run_in_memory(
        classify_document, {"document": str(DOCUMENT)}, runtime=FakeRuntime()
    )
    assert outcome.status == "failed"
    assert "There is no document" in str(outcome.error)


def test_a_damaged_page_goes_to_review_and_does_not_fail_the_run() -> None:
    class Damaged(FakeDocuments):
        async def page(self, document: UUID, number: int) -> Page:
            if number == 2:
                raise pdf.DamagedPage("Page 2 of the PDF is damaged.")
            return await super().page(document, number)

    runtime = FakeRuntime(documents=Damaged())
    outcome = run(marked("SECRET"), marked("SECRET"), runtime=runtime)
    assert outcome.status == "waiting"
    assert outcome.state.readings[1].reasons == ("Page 2 of the PDF is damaged.",)
    assert 2 in outcome.state.shown


def test_a_page_that_cannot_be_rendered_does_not_prevent_the_review() -> None:
    class Undrawable(FakeImages):
        def draw(self, document: UUID, page: int, options: RenderOptions) -> ImageInfo:
            super().draw(document, page, options)
            raise pdf.PageTooComplex(f"Page {page} takes longer than 30 s.")

    runtime = FakeRuntime(images=Undrawable())
    outcome = run("", runtime=runtime)
    assert outcome.status == "waiting"
    assert (
        "Page 1 cannot be rendered: Page 1 takes longer than 30 s."
        in runtime.logger.text
    )


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "high"])
def test_a_threshold_outside_0_to_1_is_refused(threshold: object) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate({"document": str(DOCUMENT), "threshold": threshold})


def test_a_cancelled_run_stops_between_pages() -> None:
    cancellation = Cancellation()

    class Slow(FakeDocuments):
        async def page(self, document: UUID, number: int) -> Page:
            if number == 3:
                cancellation.cancel("enough")
            return await super().page(document, number)

    runtime = FakeRuntime(documents=Slow())
    document = runtime.documents.add("memo.pdf", [marked("SECRET")] * 40)
    outcome = run_in_memory(
        classify_document,
        Params(document=document),
        runtime=runtime,
        cancellation=cancellation,
    )
    assert outcome.status == "cancelled"
    assert len(runtime.documents.reads) < 20


# Size and shape ----------------------------------------------------------------------


def test_the_state_of_three_hundred_pages_is_small_and_contains_no_images() -> None:
    page = marked("SECRET//NOFORN", "\n\n(U) A boat.\n(S//NF) Another.\n(C) A third.")
    outcome = run(*[page] * 300)
    assert outcome.status == "completed"
    assert len(json.dumps(outcome.state.data)) < 700_000
    assert outcome.state.result is not None
    assert len(outcome.state.result.markings) == 5


def test_the_graph_is_known_before_any_run() -> None:
    shape = classify_document.shape
    assert shape.entry == "open_document"
    assert set(shape.exits) == {"publish", "reject"}
    kinds = {node.name: node.kind for node in shape.nodes}
    assert (kinds["read_pages"], kinds["ask_reviewer"]) == ("parallel", "approval")
    assert all(node.doc for node in shape.nodes)


def test_a_label_below_the_threshold_goes_to_review() -> None:
    state = Classification(
        params=Params(document=DOCUMENT), level=Level.SECRET, confidence=0.7
    )
    target, decisions = classify_document.graph.next(weigh_markings, state)
    assert target is draw_pages
    assert [decision.reason for decision in decisions] == [
        "every page is readable",
        "no contradictions",
        "confidence 70%, threshold 80%",
        "confidence 70%, threshold 80%, rejected below 0%",
        "always",
    ]


def test_the_response_of_the_reviewer_selects_the_exit() -> None:
    state = Classification(params=Params(document=DOCUMENT))
    for outcome, exit_ in (("publish", publish), ("reject", reject)):
        answered = state.set(review=Review.model_validate({"outcome": outcome}))
        assert classify_document.graph.next(ask_reviewer, answered)[0] is exit_


async def test_a_node_can_be_called_by_itself() -> None:
    runtime = FakeRuntime()
    memo = runtime.documents.add("memo.pdf", [marked("SECRET")])
    reading = await read_page(PageToRead(document=memo, page=1), runtime)
    assert reading.banner is Level.SECRET


@pytest.mark.parametrize(
    ("number", "status"), [(0, "completed"), (1, "waiting"), (2, "waiting")]
)
def test_each_sample_document_takes_its_intended_route(
    number: int, status: str
) -> None:
    outcome = run(*pdf.read_pages(samples()[number].data))
    assert outcome.status == status
    assert isinstance(outcome.pause, Paused) == (status == "waiting")


# Scans and agents --------------------------------------------------------------------


def scanned(
    *variants: str | Page, enhanced: tuple[str | Page, ...] = ()
) -> FakeRuntime:
    """Return a runtime whose memo.pdf is a scan that looks like that."""
    runtime = FakeRuntime()
    memo = runtime.documents.add("memo.pdf", [""])
    runtime.documents.add_scan(memo, 1, *variants)
    runtime.documents.add_scan(memo, 1, *variants, *enhanced, enhanced=True)
    return runtime


def test_a_clearly_marked_scan_is_published_after_one_view() -> None:
    outcome = run("", runtime=scanned(marked("SECRET//NOFORN")))
    assert outcome.status == "completed"
    assert outcome.state.label == "SECRET//NOFORN"
    assert "read_pages_again" not in outcome.path


def test_a_faint_scan_is_viewed_again_and_published_if_that_is_conclusive() -> None:
    first = marked("SECRET").replace("SECRET", "S CRET", 1)
    outcome = run(
        "",
        runtime=scanned(first[: first.rfind("SECRET")], enhanced=(marked("SECRET"),)),
    )
    assert reason_for(outcome, "read_pages", "is_hard_to_read") == (
        True,
        "second reading of page 1",
    )
    assert outcome.status == "completed"
    assert outcome.state.level is Level.SECRET


def test_an_illegible_marking_goes_to_review() -> None:
    outcome = run("", runtime=scanned("SE..ET" + BODY, enhanced=("S..RET" + BODY,)))
    assert outcome.status == "waiting"
    assert outcome.state.level is Level.SECRET
    result, reason = reason_for(outcome, "weigh_markings", "is_contradictory")
    assert result
    assert "letters are missing" in reason


def test_the_highest_marking_of_all_views_wins() -> None:
    outcome = run(
        "",
        runtime=scanned(
            "SECRET" + BODY, enhanced=("TOP SECRET" + BODY, "SECRET" + BODY)
        ),
    )
    assert outcome.state.level is Level.TOP_SECRET


def vision(*answers: Any, text: str = "") -> FakeRuntime:
    """Return a runtime whose agent “eye” gives these answers."""
    runtime = FakeRuntime(agents=FakeAgents(eye=answers))
    runtime.documents.add("memo.pdf", [text])
    return runtime


def asked(runtime: FakeRuntime, *pages: str, **params: Any) -> Outcome[Classification]:
    """Run it with the agent “eye”."""
    document = runtime.documents.add("memo.pdf", pages)
    return run_in_memory(
        classify_document,
        Params(document=document, agent="eye", **params),
        runtime=runtime,
    )


def sees(text: str, location: str = "header", clarity: float = 1.0) -> str:
    """Return an answer with one marking."""
    marking = {"text": text, "location": location, "legibility": clarity}
    return json.dumps({"clarity_score": clarity, "markings_found": [marking]})


def test_the_selected_agent_examines_every_page() -> None:
    runtime = vision(*[f"```json\n{sees('SECRET')}\n```"] * 2)
    outcome = asked(runtime, marked("SECRET"), marked("SECRET"))
    assert outcome.status == "completed"
    assert [call.kind for call in runtime.agents.calls] == ["vision", "vision"]
    assert {page for _, page, _ in runtime.images.rendered} == {1, 2}


def test_a_scan_that_only_an_agent_can_read_is_published_on_its_word() -> None:
    answer = json.dumps(
        {
            "clarity_score": 0.95,
            "markings_found": [
                {"text": "SECRET//NOFORN", "location": "header", "legibility": 0.9},
                {"text": "SECRET//NOFORN", "location": "footer", "legibility": 0.9},
            ],
        }
    )
    outcome = asked(vision(answer), "")
    assert outcome.status == "completed"
    assert outcome.state.label == "SECRET//NOFORN"


def test_a_level_of_the_agent_that_contradicts_the_text_goes_to_review() -> None:
    outcome = asked(vision(sees("TOP SECRET")), marked("SECRET"))
    assert outcome.status == "waiting"
    assert outcome.state.level is Level.TOP_SECRET


def test_a_page_that_an_agent_finds_unclear_is_rendered_as_requested_and_sent_again() -> (
    None
):
    unclear = json.dumps(
        {"clarity_score": 0.3, "filter_suggestion": {"contrast": 70, "brightness": 120}}
    )
    runtime = vision(unclear, sees("SECRET", clarity=0.9))
    outcome = asked(runtime, marked("SECRET"))
    assert "read_pages_again" in outcome.path
    first, second = (variant for _, _, variant in runtime.images.rendered[:2])
    assert (first.contrast, first.brightness) == (None, None)
    assert (second.contrast, second.brightness) == (70, 120)


@pytest.mark.parametrize(
    "answer", ["I cannot see anything.", UpstreamFailed("It is asleep.")]
)
def test_an_unavailable_agent_leads_to_review(answer: Any) -> None:
    outcome = asked(vision(answer), marked("SECRET"))
    assert outcome.status == "waiting"
    assert "failed" in outcome.state.contradictions[0]


def test_a_profile_may_choose_the_agent() -> None:
    runtime = FakeRuntime(
        agents=FakeAgents(eye=[sees("SECRET")]),
        profiles=FakeProfiles(read_page=PromptProfile(agent="eye")),
    )
    run(marked("SECRET"), runtime=runtime)
    assert len(runtime.agents.calls) == 1


# The score ---------------------------------------------------------------------------


def test_the_score_is_reported_with_its_factors() -> None:
    result = run(marked("SECRET"), marked("SECRET")).state.result
    assert result is not None
    assert result.score.recommendation == "ACCEPT"
    product = 1.0
    for factor in result.score.factors or ():
        product *= factor.score**factor.weight
    assert product == pytest.approx(result.score.overall_score, abs=0.01)


def test_below_a_limit_that_was_set_a_document_is_rejected_without_a_question() -> None:
    runtime = FakeRuntime()
    document = runtime.documents.add("memo.pdf", [f"Confidential{BODY}"])
    outcome = run_in_memory(
        classify_document,
        Params(document=document, threshold=0.99, reject_below=0.95),
        runtime=runtime,
    )
    assert outcome.path[-1] == "reject"
    assert outcome.state.result is not None
    assert outcome.state.result.score.recommendation == "REJECT"


def test_the_result_shows_its_evidence_as_a_question_would() -> None:
    result = run(marked("SECRET")).state.result
    assert result is not None
    (page,) = result.evidence.pages
    assert [mark.text for mark in page.marks] == ["SECRET (header)", "SECRET (footer)"]
