"""Markings in labelled lines: read in any layout, and asked about where in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.labelled_pages import LabelledPage, labelled_page
from workflows.definitions.classify_document import (
    Classification,
    Params,
    classify_document,
)
from workflows.definitions.markings import (
    Detection,
    Level,
    Verdict,
    read,
    read_detection,
    read_scan,
    weigh,
)
from workflows.documents import pdf
from workflows.engine.testing import Outcome, run_in_memory
from workflows.runtime import Box, FakeDocuments, FakeRuntime, Line, Page, Word, page_of

BODY = "\n\nThe survey of the northern basin was made in the spring and shows\nboats.\n"
FEW, MANY = range(60), range(60, 3_000)


def on_a_page(text: str) -> Page:
    """Return a page with the text between two paragraphs."""
    return page_of(BODY + "\n" * 8 + text + "\n" + BODY)


def in_a_secret_document(text: str) -> Page:
    """Return a page with the text that is marked SECRET at its head and foot."""
    rows = ["SECRET", *f"{BODY}\n\n{text}\n{BODY}".split("\n")]
    return page_of("\n".join([*rows, *[""] * (59 - len(rows)), "SECRET"]))


def verdict_of(*pages: Page) -> Verdict:
    """Return the verdict on pages, numbered as they come."""
    return weigh([read(replace(p, number=at)) for at, p in enumerate(pages, start=1)])


def classified(*pages: Page) -> Outcome[Classification]:
    """Run classify-document on these pages."""
    documents = FakeDocuments()
    document = documents.add("form.pdf", pages)
    return run_in_memory(
        classify_document,
        Params(document=document),
        runtime=FakeRuntime(documents=documents),
    )


def published(*pages: Page) -> str | None:
    """Return the label that is published without a question; None: one is asked."""
    result = classified(*pages).state.result
    return None if result is None else result.label


# Layouts -----------------------------------------------------------------------------


@pytest.mark.parametrize("position", [page_of, on_a_page], ids=["head", "middle"])
@pytest.mark.parametrize(
    "text",
    [
        "CLASSIFICATION: SECRET\nCAVEATS: NOFORN\nTERMS: NONE",
        "TERMS: NONE\nCAVEATS: NOFORN\nCLASSIFICATION: SECRET",
        "Overall classification:\nSecret\nDissemination controls:\nNOFORN",
        "Classification\nSECRET\n\nHandling\nNOFORN",
        "Classification level .......... Secret\nHandling caveats .............. NF",
        "CLASSIFICATION - SECRET\nHANDLING INSTRUCTIONS - NOFORN",
        "Security classification = secret\nCaveats = noforn",
        "CLASSIFICATION      SECRET\nDATE                1974\nCAVEATS             NOFORN",
        "Classification      Caveats      Terms\nSECRET              NOFORN       NONE",
        "CLASSIFICATION: SECRET CAVEATS: NOFORN TERMS: NONE",
        "Classification: SECRET; Caveats: NOFORN | Date: 12 May 1974",
        "1. Classification: SECRET\n2. Caveat(s): NOFORN",
        "**Classification:** SECRET\n**Caveats (if any):** NOFORN",
        "CLASSIFICATION/CAVEATS: SECRET/NOFORN",
        "C L A S S I F I C A T I O N : S E C R E T\nC A V E A T S : N O F O R N",
        "CLASSIFCATION: SECRET\nCAVEATES: NOFORN",
        "Classification of this document: SECRET\nReleasability: NOFORN",
        "CLASSIFICATION: SECRET\n\n\nCAVEATS: Not releasable to foreign nationals",
        "Terms: N/A\nProtective marking: SECRET//NOFORN",
    ],
)
def test_a_block_of_labels_is_published_with_its_level_and_caveats(
    text: str, position: Callable[[str], Page]
) -> None:
    assert published(position(text + BODY)) == "SECRET//NOFORN"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("CLASSIFICATION: SECRET\nCAVEATS: NOFORN,\n         ORCON", "ORCON//NOFORN"),
        ("CLASSIFICATION: SECRET\nCAVEATS:\n NOFORN\n ORCON", "ORCON//NOFORN"),
        ("Classification: SECRET\nReleasable to: USA and GBR", "REL TO USA, GBR"),
        ("Classification: SECRET\nReleasability: USA, GBR", "REL TO USA, GBR"),
        ("Classification: SECRET\nCaveats: REL TO USA, ORCON", "ORCON//REL TO USA"),
        ("Classification: SECRET\nCompartments: SI/TK", "SI//TK"),
        ("Classification: S\nCaveats: OC, NF", "ORCON//NOFORN"),
        ("Classification: SECRET\nCaveats: NF\nHandling: ORCON", "ORCON//NOFORN"),
        ("Classification: SECRET\nCaveats: FOUO", "FOUO"),
    ],
)
def test_every_caveat_of_a_block_is_retained(text: str, label: str) -> None:
    assert published(on_a_page(text)) == f"SECRET//{label}"


def test_a_table_is_read_by_position_and_not_by_word_order() -> None:
    def word(text: str, left: float, top: float) -> Line:
        return Line((Word(text, Box(left, top, left + 0.15, top + 0.011)),))

    rows = [("Classification:", "Confidential"), ("Caveats:", "NOFORN")]
    labels = [word(row[0], 0.1, 0.3 + at / 50) for at, row in enumerate(rows)]
    values = [word(row[1], 0.5, 0.3 + at / 50) for at, row in enumerate(rows)]
    page = page_of(BODY)
    page = replace(page, lines=(*page.lines, *labels, *reversed(values)))
    assert published(page) == "CONFIDENTIAL//NOFORN"


def test_a_block_is_one_finding_with_the_place_of_its_lines() -> None:
    (finding,) = read(on_a_page("Classification: SECRET\nCaveats: NOFORN")).findings
    assert finding.text == "Classification: SECRET; Caveats: NOFORN"
    assert finding.kind == "stamp"
    assert 0.15 < finding.box.top < finding.box.bottom < 0.3


# What is asked about -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("CLASSIFICATION: SECRET\nCAVEATS: AMBER GATE", "not understood"),
        ("CLASSIFICATION: SECRET\nCAVEATS: NOFORN, XYZZY", "not understood"),
        ("CLASSIFICATION: SECRET\nHandling: burn after reading", "not understood"),
        ("Classification: SECRET\nHandling: For named recipients only", "not under"),
        ("CLASSIFICATION: SECRET\nCAVEATS: see covering letter", "not understood"),
        ("CLASSIFICATION: SECRET\nCAVEATS: NOFORN,", "not understood"),
        ("CLASSIFICATION: SECRET\nCAVEATS: N0FORN", "not understood"),
        ("CLASSIFICATION: TOP DRAWER\nCAVEATS: NOFORN", "not understood"),
        ("CLASSIFICATION: SECRET UNTIL 2030", "not understood"),
        ("CLASSIFICATION: SECRET / CONFIDENTIAL", "not understood"),
        ("CLASSIFICATION: SECRET\nEYES ONLY: UK", "not understood"),
        ("CLASSIFICATION: SECRET\nSHARING RULES: NOFORN", "not refer to the document"),
        ("PREVIOUS CLASSIFICATION: TOP SECRET", "not refer to the document"),
        ("CLASSIFICATION: SECRET\nCAVEATS:", "no readable value"),
        ("CLASSIFICATION: SECRET\nCAVEATS: -", "no readable value"),
        ("Classification: ____", "no readable value"),
        ("CLASSIFICATION: [    ]   CAVEATS: [    ]", "no readable value"),
        ("CLASSIFICATION: NONE\nCAVEATS: NOFORN", "gives no value"),
        ("Classification: SECRET\nReleasability: NONE", "gives no value"),
        ("CLASSIFICATION: SECRET\nCLASSIFICATION: CONFIDENTIAL", "Adjacent labels"),
        (
            "CAVEATS: NONE\nCLASSIFICATION: SECRET\nCAVEATS: NOFORN",
            "contradicts another label",
        ),
    ],
)
def test_an_ambiguous_label_goes_to_review(text: str, doubt: str) -> None:
    outcome = classified(on_a_page(text))
    assert outcome.status == "waiting"
    assert any(doubt in sentence for sentence in outcome.state.contradictions)
    assert published(in_a_secret_document(text)) is None


def test_an_unknown_word_stays_in_the_label_under_review() -> None:
    state = classified(on_a_page("CLASSIFICATION: SECRET\nCAVEATS: NF, PLOVER")).state
    assert state.label == "SECRET//NOFORN//PLOVER"


def test_a_value_with_several_readings_counts_as_the_highest() -> None:
    text = "Classification: Confidential, annex is Top Secret\nCaveats: NF and more"
    state = classified(on_a_page(text)).state
    assert state.label == "TOP SECRET//NOFORN"


# Together with other markings --------------------------------------------------------


def test_labels_add_their_caveats_to_a_banner() -> None:
    page = in_a_secret_document("CLASSIFICATION: SECRET\nCAVEATS: NOFORN")
    assert published(page) == "SECRET//NOFORN"


@pytest.mark.parametrize("level", ["CONFIDENTIAL", "TOP SECRET"])
def test_differing_labels_and_banners_go_to_review_at_the_higher_level(
    level: str,
) -> None:
    outcome = classified(in_a_secret_document(f"CLASSIFICATION: {level}"))
    assert outcome.status == "waiting"
    assert outcome.state.level is max(
        Level.SECRET, Level(level), key=lambda one: one.rank
    )


def test_a_portion_mark_above_the_labels_goes_to_review() -> None:
    text = f"CLASSIFICATION: CONFIDENTIAL\nCAVEATS: NF\n{BODY}\n1. (TS//SI) Boats."
    state = classified(on_a_page(text)).state
    assert state.label == "TOP SECRET//SI//NOFORN"
    assert any("higher than every banner" in one for one in state.contradictions)


def test_a_caveat_in_portion_marks_that_a_label_names_is_no_doubt() -> None:
    text = f"CLASSIFICATION: SECRET\nCAVEATS: NOFORN\n{BODY}\n1. (S//NF) Boats."
    assert published(on_a_page(text)) == "SECRET//NOFORN"


def test_caveats_on_only_some_pages_go_to_review() -> None:
    one = on_a_page("CLASSIFICATION: SECRET\nCAVEATS: NONE")
    other = on_a_page("CLASSIFICATION: SECRET\nCAVEATS: NOFORN")
    assert published(one, one) == "SECRET"
    outcome = classified(one, other)
    assert (outcome.status, outcome.state.label) == ("waiting", "SECRET//NOFORN")
    assert "“CAVEATS: NONE” on page 1 contradicts NOFORN." in outcome.state.why


def test_differing_lists_of_countries_go_to_review() -> None:
    pages = [
        on_a_page(f"CLASSIFICATION: SECRET\nRELEASABLE TO: {to}")
        for to in ("USA, GBR", "USA, GBR, FRA")
    ]
    assert published(pages[0], pages[0]) == "SECRET//REL TO USA, GBR"
    assert published(*pages) is None


def test_a_banner_retains_the_caveat_after_a_list_of_countries() -> None:
    page = page_of("SECRET//REL TO USA, GBR, NOFORN" + BODY)
    assert verdict_of(page).label == "SECRET//NOFORN//REL TO USA, GBR"


# Running text ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The classification of animals: none of them is rare.",
        "Classification: the boats are sorted into three groups by size and use.",
        "This is the usual\nclassification: none of them flies in winter at all.",
        "Classification\nThe ships are classed by their draught and by their age.",
        "Caveats\nThe figures are rounded and exclude the winter months.",
        "Handling: The boat handles well in heavy weather and in fog.",
        "3. Handling of ropes\nRopes are kept dry.",
        "handling\nrestricted by ice",
        "Terms: net 30 days",
        "Terms: none",
        "TERMS AND CONDITIONS",
        "Restrictions: no dogs",
        "Markings: white buoys, red tops",
        "Distribution: All heads of department",
        "Level: 3\nClass: A\nAccess: by the north gate\nRelease: 2.0",
        "CLASSIFICATION AUTHORITY: HARBOUR MASTER\nClassification guide: WD-7",
        "Classified by: J. Doe\nDerived from: Multiple sources\nDeclassify on: 20351231",
        "He asked about the terms: none were given, and the handling: as before.",
    ],
)
def test_label_words_in_running_text_are_not_markings(text: str) -> None:
    assert published(in_a_secret_document(text)) == "SECRET"
    assert verdict_of(on_a_page(text)).level is None


# Views of other readers --------------------------------------------------------------


def scan(text: str, *, confidence: float = 0.99, view: str = "plain") -> Page:
    """Return what a reader of scans gives for a page with the text in its middle."""
    page = on_a_page(text)
    lines = tuple(
        Line(tuple(Word(word.text, word.box, confidence) for word in line.words))
        for line in page.lines
    )
    return replace(page, lines=lines, is_picture=True, variant=view)


def test_labels_of_a_scan_are_read_like_those_of_a_text() -> None:
    reading = read_scan(
        [scan("CLASSIFICATI0N:SECRET\nCAVEATS;NOFORN\nTERMS: NONE")] * 2
    )
    assert (reading.doubts, weigh([reading]).label) == ((), "SECRET//NOFORN")


@pytest.mark.parametrize("other", ["CAVEATS: NOFORN, ORCON", "CAVEATS: NOFORN ORC0N"])
def test_a_value_that_is_longer_in_one_view_goes_to_review(other: str) -> None:
    first = scan("CLASSIFICATION: SECRET\nCAVEATS: NOFORN")
    second = scan(f"CLASSIFICATION: SECRET\n{other}", view="faint")
    reading = read_scan([first, second])
    assert weigh([reading]).label == "SECRET//ORCON//NOFORN"
    assert reading.doubts


def test_a_poorly_legible_label_goes_to_review() -> None:
    reading = read_scan(
        [scan("CLASSIFICATION: SECRET\nCAVEATS: NONE", confidence=0.7)] * 2
    )
    assert any("is barely legible" in doubt for doubt in reading.doubts)


def test_what_an_agent_reads_after_a_label_counts() -> None:
    candidates = [
        {"text": "CLASSIFICATION: SECRET"},
        {"text": "CAVEATS: NOFORN\nTERMS: NONE"},
    ]
    detection = Detection(clarity_score=1, markings_found=candidates)
    reading = read_detection(1, detection, enhanced=True)
    assert (weigh([reading]).label, reading.doubts) == ("SECRET//NOFORN", ())


def test_an_unparsable_reading_of_an_agent_goes_to_review() -> None:
    candidates = [
        {"text": "SECRET", "location": "head"},
        {"text": "CAVEATS: AMBER GATE"},
    ]
    detection = Detection(clarity_score=1, markings_found=candidates)
    assert weigh([read_detection(1, detection, enhanced=True)]).contradictions


# Generated documents -----------------------------------------------------------------


def faults(document: LabelledPage, outcome: Outcome[Classification]) -> list[str]:
    """Return what is wrong with how a document was classified."""
    state = outcome.state
    if outcome.status == "waiting":
        return []
    found = []
    if state.level is None or state.level.rank < (document.level or state.level).rank:
        found.append(f"{document.name}: published as {state.label}")
    if not document.caveats <= set(state.caveats):
        found.append(f"{document.name}: published without {document.caveats}")
    if document.needs_review:
        found.append(f"{document.name}: published unasked")
    return found


def text_of(document: LabelledPage) -> Page:
    """Return the text layer of a document."""
    return pdf.read_page(document.pdf, 1)


def check_that_none_is_published_lower(seeds: range) -> None:
    documents = [labelled_page(seed) for seed in seeds]
    wrong = [faults(one, classified(text_of(one))) for one in documents]
    assert [fault for found in wrong for fault in found] == []


def check_that_plain_ones_are_published(seeds: range) -> None:
    documents = [labelled_page(seed, is_plain=True) for seed in seeds]
    labels = {one.name: classified(text_of(one)).state.result for one in documents}
    asked = [name for name, result in labels.items() if result is None]
    assert len(asked) <= len(documents) / 100
    for one in documents:
        result = labels[one.name]
        if result is not None and result.label is not None:
            level, *caveats = result.label.split("//")
            assert (Level(level), set(caveats)) == (one.level, set(one.caveats)), (
                one.name
            )


def test_no_generated_document_is_published_below_its_marking() -> None:
    check_that_none_is_published_lower(FEW)


def test_generated_documents_that_are_clear_are_published_as_they_are_marked() -> None:
    check_that_plain_ones_are_published(FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_none_of_many_generated_documents_is_published_below_its_marking() -> None:
    check_that_none_is_published_lower(MANY)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_generated_documents_are_published_as_they_are_marked() -> None:
    check_that_plain_ones_are_published(MANY)
