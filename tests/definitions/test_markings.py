"""Markings are found however they are written, and prose is not taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.definitions.markings import (
    UNMARKED,
    Finding,
    Level,
    PageReading,
    Verdict,
    label_of,
    page_numbers_text,
    pages_to_review,
    read,
    summarize_markings,
    summarize_pages,
    unreadable,
    weigh,
)
from workflows.definitions.markings.grammar import banner, portion
from workflows.runtime import Box, Line, Page, Word, page_of

BODY = """

The survey of the northern basin was made in the spring and shows
where the boats may lie in all weathers and at all times of the tide.
"""


def sheet(marking: str, body: str = BODY, *, number: int = 1) -> Page:
    """Return a page with a marking at its head and foot."""
    rows = [marking, *body.split("\n")]
    rows += [""] * (59 - len(rows)) + [marking]
    return page_of("\n".join(rows), number)


def full_width(text: str) -> str:
    """Return the text in the wide letters of East Asian type."""
    return "".join(chr(ord(c) + 0xFEE0) if c != " " else c for c in text)


def in_the_middle(text: str) -> Page:
    """Return a page whose text begins in the middle."""
    return page_of("\n" * 6 + BODY + "\n" * 15 + text + "\n" * 15 + BODY)


def labels(page: Page) -> dict[str, str]:
    """Return what was found, by kind."""
    return {finding.kind: finding.label for finding in read(page).findings}


def verdict_of(*pages: Page) -> Verdict:
    """Return the verdict on pages, numbered as they come."""
    numbered = [
        Page(number, page.width, page.height, page.lines)
        for number, page in enumerate(pages, start=1)
    ]
    return weigh([read(page) for page in numbered])


# The scale ---------------------------------------------------------------------------


def test_the_scale_has_one_order_from_public_to_top_secret() -> None:
    ranks = [level.rank for level in Level]
    assert ranks == sorted(ranks) == list(range(len(ranks)))
    assert (
        Level.PUBLIC.rank < Level.CUI.rank < Level.SECRET.rank < Level.TOP_SECRET.rank
    )


@pytest.mark.parametrize("level", Level)
def test_every_level_is_read_as_it_is_written(level: Level) -> None:
    marking = banner(level.value)
    assert marking is not None
    assert marking.level is level


# How banners are written -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("SECRET//NOFORN", "SECRET//NOFORN"),
        ("SECRET // NO FORN", "SECRET//NOFORN"),
        ("secret//noforn", "SECRET//NOFORN"),
        ("S E C R E T", "SECRET"),
        ("T O P  S E C R E T // S I", "TOP SECRET//SI"),
        ("TOP\nSECRET", "TOP SECRET"),
        (full_width("TOP SECRET//NF"), "TOP SECRET//NOFORN"),
        ("SECRET\\\\NOFORN", "SECRET//NOFORN"),
        ("SECRET – NOFORN", "SECRET//NOFORN"),
        ("*** SECRET ***", "SECRET"),
        ("[Secret]", "SECRET"),
        ("SECRET NOFORN ORCON", "SECRET//ORCON//NOFORN"),
        ("SECRET//REL TO USA, GBR", "SECRET//REL TO USA, GBR"),
        ("SECRET//REL TO USA AND GBR", "SECRET//REL TO USA, GBR"),
        ("SECRET//REL TO USA, FVEY", "SECRET//REL TO USA, FVEY"),
        ("SECRET UK EYES ONLY", "SECRET//UK EYES ONLY"),
        (
            "TOP SECRET//HCS-P/SI-G/TK//ORCON/NOFORN",
            "TOP SECRET//HCS//SI//TK//ORCON//NOFORN",
        ),
        ("COSMIC TOP SECRET ATOMAL", "TOP SECRET//ATOMAL"),
        ("NATO RESTRICTED", "RESTRICTED"),
        ("SECRET//RESTRICTED DATA", "SECRET//RD"),
        ("SECRET//XYZZY//20351231", "SECRET//XYZZY"),
        ("CUI//SP-PRVCY//NOFORN", "CUI//NOFORN//SP-PRVCY"),
        ("FOR OFFICIAL USE ONLY", "CUI//FOUO"),
        ("UNCLASSIFIED//FOUO", "UNCLASSIFIED//FOUO"),
        ("OFFICIAL-SENSITIVE COMMERCIAL", "OFFICIAL-SENSITIVE//COMMERCIAL"),
        ("Official: Sensitive", "OFFICIAL-SENSITIVE"),
        ("Strictly Confidential", "STRICTLY CONFIDENTIAL"),
        ("Private & Confidential", "CONFIDENTIAL"),
        ("Commercial in Confidence", "CONFIDENTIAL"),
        ("For internal use only", "INTERNAL"),
        ("Approved for public release", "PUBLIC"),
    ],
)
def test_a_banner_is_read_regardless_of_case_spacing_and_punctuation(
    text: str, label: str
) -> None:
    marking = banner(text)
    assert marking is not None
    assert label_of(marking.level, marking.caveats) == label


@given(st.sampled_from(list(Level)), st.data())
def test_spaces_and_line_breaks_anywhere_change_nothing(
    level: Level, data: st.DataObject
) -> None:
    letters = list(f"{level.value}//NOFORN//REL TO USA, GBR".replace(" ", ""))
    spread = "".join(
        letter + data.draw(st.sampled_from(["", " ", "  ", "\n"])) for letter in letters
    )
    assert banner(spread) == banner(f"{level.value}//NOFORN//REL TO USA, GBR")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//",
        "the secret",
        "Secretary",
        "top secretary",
        "TOP SECRETARY",
        "Secrets",
        "CONFIDENTIALITY",
        "DECLASSIFIED",
        "PUBLICATIONS",
        "Public Health",
        "Internal Revenue Service",
        "Officials",
        "Restricted stock",
        "RESTRICTED DATA SET",
        "No secret",
    ],
)
def test_what_only_resembles_a_marking_is_none(text: str) -> None:
    marking = banner(text)
    assert marking is None or marking.level is None


@given(st.text(max_size=300))
def test_any_text_can_be_examined(text: str) -> None:
    for answer in (banner(text), portion(text)):
        assert answer is None or answer.level is not None or answer.caveats


@pytest.mark.timeout(10)
def test_hostile_text_is_examined_in_linear_time() -> None:
    for text in (
        "A" * 50_000,
        "REL TO " + "USA," * 20_000,
        "1 " * 30_000,
        "( " * 30_000,
    ):
        words = [Word(word, Box(0.1, 0.05, 0.2, 0.06)) for word in text.split()]
        assert read(Page(1, 612, 792, (Line(tuple(words)),))).findings == ()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("U", "UNCLASSIFIED"),
        ("C", "CONFIDENTIAL"),
        ("S//NF", "SECRET//NOFORN"),
        ("TS//SI//NF", "TOP SECRET//SI//NOFORN"),
        ("S//REL TO USA, GBR", "SECRET//REL TO USA, GBR"),
        ("U//FOUO", "UNCLASSIFIED//FOUO"),
        ("NR", "RESTRICTED"),
        ("O-S", "OFFICIAL-SENSITIVE"),
    ],
)
def test_a_portion_mark_is_read(text: str, label: str) -> None:
    marking = portion(text)
    assert marking is not None
    assert label_of(marking.level, marking.caveats) == label


# Where they stand on a page ----------------------------------------------------------


def test_header_and_footer_banners_are_found_with_their_place() -> None:
    header, footer = read(sheet("SECRET//NOFORN")).findings
    assert (header.kind, footer.kind) == ("header", "footer")
    assert header.label == footer.label == "SECRET//NOFORN"
    assert header.box.bottom < 0.1
    assert footer.box.top > 0.9
    assert header.weight >= 0.9


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("SECRET Page 2 of 3", "SECRET"),
        ("Copy 3 of 7 SECRET 12 May 1974", "SECRET"),
        ("Classification: SECRET//NOFORN", "SECRET//NOFORN"),
        ("This page is UNCLASSIFIED", "UNCLASSIFIED"),
        ("Acme Ltd | Confidential | Page 2", "CONFIDENTIAL"),
        ("Acme Ltd - Strictly Confidential - do not copy", "STRICTLY CONFIDENTIAL"),
        ("ACME LTD CONFIDENTIAL", "CONFIDENTIAL"),
        ("Acme Ltd SECRET Page 1", "SECRET"),
        ("ACME INTERNAL", "INTERNAL"),
        ("TOP\nSECRET", "TOP SECRET"),
        ("SECRET//\nNOFORN", "SECRET//NOFORN"),
        ("CONFI-\nDENTIAL", "CONFIDENTIAL"),
    ],
)
def test_a_banner_can_share_its_line_with_other_text(line: str, label: str) -> None:
    assert labels(page_of(line + BODY)) == {"header": label}


def test_a_banner_is_found_between_other_text_in_the_same_line() -> None:
    def word(text: str, left: float) -> Word:
        return Word(text, Box(left, 0.04, left + 0.012 * len(text), 0.05))

    line = Line((word("Acme", 0.1), word("SECRET", 0.45), word("Page", 0.8)))
    (finding,) = read(Page(1, 612, 792, (line,))).findings
    assert finding.label == "SECRET"
    assert finding.box.left == 0.45


def test_a_wide_gap_within_a_marking_does_not_lower_it() -> None:
    top = Word("TOP", Box(0.2, 0.04, 0.25, 0.05))
    secret = Word("SECRET", Box(0.6, 0.04, 0.7, 0.05))
    page = Page(1, 612, 792, (Line((top, secret)),))
    assert labels(page) == {"header": "TOP SECRET"}


@pytest.mark.parametrize(
    "line",
    [
        "PUBLIC HEALTH REPORT",
        "NOTARY PUBLIC OF THE TOWN",
        "INTERNAL REVENUE SERVICE",
        "The Secret Garden",
        "Keep the secret",
        "Secretary of State",
        "top secretary of the year",
        "A Confidential Conversation",
        "Declassify on: 20351231",
        "Declassified documents show it",
    ],
)
def test_a_running_title_is_not_taken_for_a_banner(line: str) -> None:
    assert labels(page_of(line + BODY)) == {}


def test_a_negated_marking_is_not_one() -> None:
    for line in ("NOT CONFIDENTIAL", "NON-CONFIDENTIAL VERSION"):
        assert "header" not in labels(page_of(line + BODY))


def test_running_text_that_names_a_level_counts_little() -> None:
    page = in_the_middle("This SECRET thing is unclassified, said the secretary.")
    (finding,) = read(page).findings
    assert (finding.kind, finding.label) == ("mention", "SECRET")
    assert finding.weight <= 0.15
    assert not finding.is_banner
    assert labels(in_the_middle("Keep it secret and confidential.")) == {}


def test_a_stamp_in_the_middle_marks_the_page_when_it_catches_the_eye() -> None:
    box = Box(0.3, 0.5, 0.7, 0.58)
    stamp = Line((Word("CONFIDENTIAL", box),))
    body = page_of("\n" * 8 + BODY)
    page = Page(1, 612, 792, (*body.lines, stamp, *page_of("\n" * 45 + BODY).lines))
    (finding,) = read(page).findings
    assert (finding.kind, finding.is_banner) == ("stamp", True)


def test_portion_marks_are_found_with_their_places_and_counted() -> None:
    page = page_of(
        "Harbour survey (U)\n\n"
        "1. (S//NF) The boat leaves at night.\n"
        "   (U) Nobody is on board.\n"
        "2. (TS//SI//NF) The other boat (if any) waits.\n" + BODY
    )
    found = {f.text: (f.label, f.times) for f in read(page).findings}
    assert found == {
        "(S//NF)": ("SECRET//NOFORN", 1),
        "(TS//SI//NF)": ("TOP SECRET//SI//NOFORN", 1),
        "(U)": ("UNCLASSIFIED", 2),
    }
    marks = {f.text: f.box for f in read(page).findings}
    assert marks["(S//NF)"].right < 0.25


@pytest.mark.parametrize("text", ["1. (S//NF)The boat.", "1.(S//NF)A boat."])
def test_a_portion_mark_counts_where_spaces_around_it_were_lost(text: str) -> None:
    assert labels(page_of(BODY + text + BODY)) == {"portion": "SECRET//NOFORN"}


@pytest.mark.parametrize(
    "text",
    [
        "(A) one\n(B) two\n(C) three",
        "(C) 2024 Acme Ltd. All rights reserved.",
        "(C) Copyright Acme Ltd",
        "(c) a third point",
        "the document(s) and the part (S) of it",
        "f (U) = 3",
    ],
)
def test_brackets_that_are_no_portion_marks(text: str) -> None:
    assert labels(page_of(BODY + text + BODY)) == {}


@pytest.mark.parametrize(
    "text",
    [
        "UNCLASSIFIED when separated from Annex A attachments",
        "UNCLASSIFIED\nWHEN SEPARATED FROM CLASSIFIED ENCLOSURES",
        "Unclassified upon removal of enclosure 2",
    ],
)
def test_a_marking_that_depends_on_an_annex_does_not_mark_the_page(text: str) -> None:
    (finding,) = read(page_of("\n\n\n" + text + BODY)).findings
    assert (finding.kind, finding.weight) == ("condition", 0)
    verdict = verdict_of(sheet("SECRET", "\n\n" + text + BODY))
    assert (verdict.label, verdict.contradictions) == ("SECRET", ())


@pytest.mark.parametrize(
    ("stamp", "level"),
    [
        ("DECLASSIFIED", "UNCLASSIFIED"),
        ("Declassified by J. Doe on 3 May 1990", "UNCLASSIFIED"),
        ("DOWNGRADED TO CONFIDENTIAL", "CONFIDENTIAL"),
        ("Approved For Release 2003/08/12", "UNCLASSIFIED"),
    ],
)
def test_a_release_contradicts_the_banners_and_never_lowers_the_label(
    stamp: str, level: str
) -> None:
    verdict = verdict_of(sheet("SECRET", BODY + "\n\n" + stamp + "\n" + BODY))
    assert verdict.label == "SECRET"
    assert level in [alternative.label for alternative in verdict.alternatives]
    assert "no longer valid" in verdict.contradictions[0]


# How well a page can be read ---------------------------------------------------------


def test_a_page_of_text_is_legible_and_an_image_is_not() -> None:
    assert read(page_of(BODY)).legibility == 1
    picture = read(page_of(""))
    assert picture.legibility == 0
    assert "no text layer" in picture.reasons[0]


def test_a_blank_page_is_legible() -> None:
    blank = read(Page(1, 612, 792, (), is_blank=True))
    assert (blank.legibility, blank.reasons) == (1, ("the page is blank",))


def test_noise_in_the_text_layer_lowers_the_score_with_a_reason() -> None:
    noise = read(page_of("\ue000\ue001\ue002 xkcdqwrtz bcdfghjk ~^#|x " * 6))
    assert noise.legibility < 0.3
    assert any("are not text" in reason for reason in noise.reasons)
    assert any("are not recognizable" in reason for reason in noise.reasons)


def test_a_page_with_very_little_text_is_reported() -> None:
    reading = read(page_of("SECRET"))
    assert reading.legibility < 0.6
    assert reading.reasons == ("only 1 word",)


@given(st.text(max_size=200))
def test_legibility_is_between_0_and_1_for_any_text(text: str) -> None:
    reading = read(page_of(text))
    assert 0 <= reading.legibility <= 1
    assert reading.legibility == 1 or reading.reasons


# The verdict -------------------------------------------------------------------------


def test_pages_that_agree_result_in_a_certain_label() -> None:
    verdict = verdict_of(sheet("SECRET//NOFORN"), sheet("SECRET//NOFORN"))
    assert verdict.label == "SECRET//NOFORN"
    assert verdict.confidence > 0.95
    assert verdict.contradictions == ()
    assert verdict.why == (
        "SECRET found in the header and in the footer of pages 1 and 2.",
    )


def test_the_label_is_never_lower_than_the_highest_banner() -> None:
    verdict = verdict_of(sheet("CONFIDENTIAL"), sheet("SECRET"), sheet("CONFIDENTIAL"))
    assert verdict.level is Level.SECRET
    assert verdict.confidence < 0.8
    assert verdict.contradictions == (
        "The banners disagree: pages 1 and 3 say CONFIDENTIAL and page 2 says SECRET.",
    )
    assert verdict.alternatives[0].label == "CONFIDENTIAL"


@given(st.lists(st.sampled_from(list(Level)), min_size=1, max_size=6))
def test_no_document_is_labelled_lower_than_one_of_its_pages(
    levels: list[Level],
) -> None:
    verdict = verdict_of(*[sheet(level.value) for level in levels])
    assert verdict.level is max(levels, key=lambda level: level.rank)
    assert bool(verdict.contradictions) == (len(set(levels)) > 1)
    assert verdict.confidence + sum(a.confidence for a in verdict.alternatives) <= 1.02


def test_a_portion_mark_above_the_banner_raises_the_label_and_contradicts() -> None:
    verdict = verdict_of(sheet("CONFIDENTIAL", "\n\n(TS//SI) The boat.\n" + BODY))
    assert verdict.label == "TOP SECRET//SI"
    assert any(
        "higher than every banner" in message for message in verdict.contradictions
    )


def test_a_portion_mark_below_the_banner_is_no_contradiction() -> None:
    verdict = verdict_of(sheet("SECRET", "\n\n(U) The boat.\n(C) The crew.\n" + BODY))
    assert (verdict.label, verdict.contradictions) == ("SECRET", ())
    assert verdict.confidence > 0.9


def test_a_caveat_that_only_a_portion_names_is_included_and_reviewed() -> None:
    verdict = verdict_of(sheet("SECRET", "\n\n(C//NF) The boat.\n" + BODY))
    assert verdict.label == "SECRET//NOFORN"
    assert verdict.contradictions == ("NOFORN appears in portion marks only.",)


def test_a_classified_document_does_not_take_over_fouo_from_its_parts() -> None:
    verdict = verdict_of(sheet("SECRET", "\n\n(U//FOUO) The boat.\n" + BODY))
    assert (verdict.label, verdict.contradictions) == ("SECRET", ())


def test_noforn_and_a_release_to_others_contradict_each_other() -> None:
    verdict = verdict_of(sheet("SECRET//NOFORN//REL TO USA, GBR"))
    assert "contradict" in verdict.contradictions[0]


def test_pages_without_a_banner_lower_the_confidence() -> None:
    whole = verdict_of(sheet("SECRET"), sheet("SECRET"), sheet("SECRET"))
    partly = verdict_of(sheet("SECRET"), page_of(BODY), page_of(BODY))
    assert partly.confidence < 0.8 < whole.confidence
    assert "No banner on pages 2 and 3." in partly.why


def test_a_blank_page_needs_no_banner() -> None:
    readings = [read(sheet("SECRET")), read(Page(2, 612, 792, (), is_blank=True))]
    assert weigh(readings).confidence > 0.9


def test_pages_that_cannot_be_read_are_named() -> None:
    verdict = verdict_of(sheet("SECRET"), page_of(""), sheet("SECRET"))
    assert verdict.unread == (2,)
    assert verdict.confidence < 0.8
    assert "No readable text on page 2." in verdict.why


def test_a_document_without_any_text_is_not_guessed_at() -> None:
    verdict = verdict_of(page_of(""), page_of(""))
    assert (verdict.label, verdict.confidence) == (UNMARKED, 0)


def test_a_document_without_markings_is_not_called_public() -> None:
    verdict = verdict_of(page_of(BODY), page_of(BODY))
    assert verdict.level is None
    assert verdict.confidence <= 0.5
    assert verdict.why == ("No marking found on any readable page.",)


def test_a_document_without_pages_has_no_label() -> None:
    assert weigh([]).confidence == 0


# Summaries of page numbers -----------------------------------------------------------


def a_finding(
    page: int, *, label: Level = Level.SECRET, weight: float = 0.9
) -> Finding:
    return Finding(
        page=page,
        kind="header",
        text=label.value,
        level=label,
        weight=weight,
        box=Box(0.4, 0.03, 0.6, 0.05),
    )


def test_the_same_marking_on_many_pages_is_reported_once_with_its_places() -> None:
    readings = [
        PageReading(page=page, legibility=1, findings=(a_finding(page),))
        for page in range(1, 301)
    ]
    (gathered,) = summarize_markings(readings)
    assert gathered.label == "SECRET"
    assert [place.page for place in gathered.locations] == list(range(1, 301))
    assert [line.label for line in summarize_pages(readings)] == ["SECRET"] * 300


def test_a_reviewer_is_shown_unread_pages_and_the_first_of_each_marking() -> None:
    marks = {2: Level.SECRET, 3: Level.SECRET, 7: Level.CONFIDENTIAL}
    readings = [
        PageReading(
            page=page, legibility=1, findings=(a_finding(page, label=marks[page]),)
        )
        if page in marks
        else unreadable(page, "damaged")
        if page == 9
        else PageReading(page=page, legibility=1)
        for page in range(1, 11)
    ]
    assert pages_to_review(readings, [9], limit=8) == (1, 2, 7, 9)
    assert pages_to_review(readings, [9], limit=2) == (2, 9)


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ([3], "page 3"),
        ([2, 1], "pages 1 and 2"),
        ([1, 2, 3, 4], "pages 1–4"),
        ([1, 2, 3, 5, 9, 9], "pages 1–3, 5 and 9"),
    ],
)
def test_page_numbers_are_summarized_as_ranges(pages: list[int], words: str) -> None:
    assert page_numbers_text(pages) == words
