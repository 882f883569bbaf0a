"""Markings on scans: what is complete counts, what is not is asked about, never lowered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workflows.definitions.markings import Level, PageReading, read_scan, weigh
from workflows.definitions.markings.fuzzy_match import fuzzy_matches
from workflows.runtime import Box, Line, Page, Word, page_of

BODY = "\n\nThe boats were counted on the morning of the ninth.\n"


def scan(
    head: str, foot: str = "", *, confidence: float = 0.99, variant: str = "plain"
) -> Page:
    """Return a look at a page with these lines at head and foot."""
    rows = [head, *BODY.split("\n")]
    page = page_of("\n".join([*rows, *[""] * (59 - len(rows)), foot]))
    lines = tuple(
        Line(tuple(Word(word.text, word.box, confidence) for word in line.words))
        for line in page.lines
    )
    return replace(page, lines=lines, is_picture=True, variant=variant)


def with_ink(page: Page, *, before: float = 0.0, after: float = 0.0) -> Page:
    """Return a page with unread ink next to its first line."""
    first = replace(page.lines[0], unread_before=before, unread_after=after)
    return replace(page, lines=(first, *page.lines[1:]))


def levels(reading: PageReading) -> set[Level | None]:
    """Return the levels that were found."""
    return {finding.level for finding in reading.findings}


# Likeness ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level", "caveats"),
    [
        ("ECRE-", Level.SECRET, ()),
        ("5ECRET", Level.SECRET, ()),
        ("S E C R T", Level.SECRET, ()),
        ("TOP SEC ET//NOORN", Level.TOP_SECRET, ("NOFORN",)),
        ("OP SECRET", Level.TOP_SECRET, ()),
        ("ONFIDENTIA", Level.CONFIDENTIAL, ()),
        ("CONF'DE ITIAL.", Level.CONFIDENTIAL, ()),
        ("SECRETIINOFORN", Level.SECRET, ("NOFORN",)),
        ("SECRET/NOFOP", Level.SECRET, ("NOFORN",)),
        ("UNCLA5SIFlED//FOUO", Level.UNCLASSIFIED, ("FOUO",)),
    ],
)
def test_a_line_with_faults_resembles_the_marking_it_was(
    text: str, level: Level, caveats: tuple[str, ...]
) -> None:
    best = fuzzy_matches(text)[0]
    assert (best.level, best.caveats) == (level, caveats)


@pytest.mark.parametrize(
    "text",
    ["SUBJECT:", "MEMORANDUM FOR THE RECORD", "Merriweather", "", "12.5 %", "SEC"],
)
def test_unrelated_lines_have_no_good_match(text: str) -> None:
    assert all(match.score < 0.65 for match in fuzzy_matches(text))


def test_text_next_to_a_level_that_is_no_caveat_makes_it_unclear() -> None:
    assert not fuzzy_matches("SECRETARY")[0].is_exact
    assert not fuzzy_matches("SECRET//JFO")[0].is_clear


# One look ----------------------------------------------------------------------------


def test_a_page_with_equal_header_and_footer_needs_one_view() -> None:
    reading = read_scan([scan("SECRET//NOFORN", "SECRET//NOFORN")])
    assert (reading.doubts, reading.is_unclear) == ((), False)
    assert reading.banner is Level.SECRET


@pytest.mark.parametrize(
    "page",
    [
        scan("SECRET"),
        scan("SECRET", "CONFIDENTIAL"),
        scan("SECRET", "SECRET", confidence=0.7),
        scan("SECRET", "SE RET"),
        scan(""),
    ],
    ids=["head only", "unlike", "unsure", "letters missing", "unmarked"],
)
def test_any_other_page_gets_a_second_view(page: Page) -> None:
    first = read_scan([page])
    assert first.is_unclear or not first.doubts
    assert not read_scan([page, page]).is_unclear


def test_letters_missing_in_every_view_leave_a_doubt() -> None:
    reading = read_scan([scan("SE.RET"), scan("S.CRE", variant="faint")])
    assert levels(reading) == {Level.SECRET}
    assert "letters are missing" in reading.doubts[0]
    assert weigh([reading]).contradictions


def test_missing_letters_are_ignored_if_the_page_has_the_full_text_elsewhere() -> None:
    reading = read_scan([scan("SE.RET", "SECRET//NOFORN")])
    assert reading.doubts == ()
    assert weigh([reading]).label == "SECRET//NOFORN"


def test_a_caveat_that_is_never_complete_goes_to_review() -> None:
    reading = read_scan([scan("SECRET//NOF", "SECRET//N FOR")] * 2)
    assert weigh([reading]).contradictions


# Several looks -----------------------------------------------------------------------


def test_if_views_differ_the_higher_marking_wins() -> None:
    reading = read_scan([scan("SECRET"), scan("TOP SECRET", variant="faint")])
    assert reading.banner is Level.TOP_SECRET


def test_an_uncertain_higher_view_goes_to_review() -> None:
    higher = scan("TOP SECRET", confidence=0.7, variant="faint")
    reading = read_scan([scan("SECRET"), higher])
    assert reading.banner is Level.TOP_SECRET
    assert "were read at the same position" in reading.doubts[0]


def test_a_caveat_found_in_one_view_is_retained() -> None:
    reading = read_scan([scan("SECRET"), scan("SECRET//NOFORN", variant="faint")])
    assert weigh([reading]).caveats == ("NOFORN",)


VARIANTS = ("plain", "contrast", "faint", "mended", "smooth")


def read_page_image(*heads: str) -> list[Page]:
    """Return what each look shows at the head of a page."""
    return [
        scan(head, variant=variant)
        for head, variant in zip(heads, VARIANTS, strict=False)
    ]


OF_CONFIDENTIAL = ("CONF.DE.T.AL", "CON FI ENT AL", "C.NFDENTAL")


def test_a_word_that_differs_in_one_view_is_outvoted_and_reviewed() -> None:
    verdict = weigh([read_scan(read_page_image(*OF_CONFIDENTIAL, "CECRE"))])
    assert verdict.level is Level.CONFIDENTIAL
    (doubt,) = verdict.contradictions
    assert "may be CONFIDENTIAL or SECRET; letters are missing" in doubt


def test_a_word_found_in_nearly_as_many_views_is_not_outvoted() -> None:
    verdict = weigh([read_scan(read_page_image(*OF_CONFIDENTIAL, "SECR", "ECRET"))])
    assert verdict.level is Level.SECRET
    assert verdict.contradictions


@pytest.mark.parametrize("one", ["OP SECR", "TO. SECRE", "P SECRE"])
def test_a_word_before_a_level_counts_if_a_single_view_has_it(one: str) -> None:
    verdict = weigh(
        [read_scan(read_page_image("SECRE", "SE RET", "ECRET", "SECR T", one))]
    )
    assert verdict.level is Level.TOP_SECRET
    assert verdict.contradictions


@pytest.mark.parametrize(
    ("one", "label"),
    [
        ("P SECRET", "TOP SECRET"),
        ("TOP SE.RET", "TOP SECRET"),
        ("SECRET//NOFO", "SECRET//NOFORN"),
    ],
)
def test_additional_text_in_one_view_goes_to_review(one: str, label: str) -> None:
    verdict = weigh([read_scan(read_page_image("SECRET", one))])
    assert verdict.label == label
    assert any(f"“{one}” may be {label}" in doubt for doubt in verdict.contradictions)


def test_additional_text_is_not_reviewed_if_the_page_has_it_in_full() -> None:
    foot = "SECRET//NOFORN"
    variants = [scan("SECRET", foot), scan("SECRET//NOFO", foot, variant="faint")]
    reading = read_scan(variants)
    assert reading.doubts == ()
    assert weigh([reading]).label == "SECRET//NOFORN"


# Ink ---------------------------------------------------------------------------------


def test_ink_before_secret_may_be_an_illegible_top() -> None:
    page = with_ink(scan("SECRET", "SECRET"), before=2.8)
    verdict = weigh([read_scan([page, page])])
    assert verdict.level is Level.TOP_SECRET
    assert any(
        "next to “SECRET” could not be read" in d for d in verdict.contradictions
    )


def test_ink_that_another_view_could_read_is_no_doubt() -> None:
    page = with_ink(scan("SECRET"), before=2.8)
    reading = read_scan([page, scan("TOP SECRET", variant="faint")])
    assert reading.doubts == ()


def test_a_speck_next_to_a_marking_is_ignored() -> None:
    page = with_ink(scan("SECRET", "SECRET"), before=0.3, after=0.2)
    assert read_scan([page]).doubts == ()


def test_text_that_no_view_could_read_is_a_doubt() -> None:
    strange = Box(0.09, 0.94, 0.2, 0.97)
    page = replace(scan("SECRET"), unread=(strange,))
    assert read_scan([page, page]).doubts == (
        "The footer contains text that could not be read.",
    )
    settled = read_scan([page, scan("SECRET", "SECRET", variant="faint")])
    assert settled.doubts == ()


def test_a_poorly_legible_line_counts_as_unread() -> None:
    page = scan("SECRET")
    mumble = Line((Word("x:?", Box(0.4, 0.94, 0.6, 0.97), 0.35),))
    reading = read_scan([replace(page, lines=(*page.lines, mumble))] * 2)
    assert "could not be read" in reading.doubts[0]


# Places ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turned", "shown"),
    [
        (0, Box(0.1, 0.2, 0.3, 0.25)),
        (90, Box(0.2, 0.7, 0.25, 0.9)),
        (180, Box(0.7, 0.75, 0.9, 0.8)),
        (270, Box(0.75, 0.1, 0.8, 0.3)),
    ],
)
def test_places_on_a_rotated_page_are_in_display_coordinates(
    turned: int, shown: Box
) -> None:
    found = replace(scan("SECRET"), turned=turned).shown(Box(0.1, 0.2, 0.3, 0.25))
    sides = (found.left, found.top, found.right, found.bottom)
    assert sides == pytest.approx((shown.left, shown.top, shown.right, shown.bottom))


def test_a_slanted_stamp_does_not_swallow_the_line_below_it() -> None:
    page = scan("")
    stamp = Line((Word("SECRET//NOFORN", Box(0.4, 0.02, 0.7, 0.09), 0.99),))
    title = Line((Word("MEMORANDUM", Box(0.1, 0.095, 0.3, 0.105), 0.99),))
    (finding,) = read_scan([replace(page, lines=(stamp, title, *page.lines))]).findings
    assert finding.text == "SECRET//NOFORN"


def test_a_caveat_is_not_inferred_without_any_of_its_letters() -> None:
    page = scan("SECRET//NRN", "SECRET//N ORN")
    assert weigh([read_scan([page, page])]).level is Level.SECRET


def test_one_letter_before_a_level_is_enough_for_a_review_of_the_higher_level() -> None:
    page = scan("P SECRET")
    verdict = weigh([read_scan([page, page])])
    assert verdict.level is Level.TOP_SECRET
    assert verdict.contradictions
