"""Three sample documents of a fictional office."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from workflows.samples.scanner import scanned
from workflows.samples.writer import HEIGHT, MARGIN, WIDTH, Sheet, wrapped, write_pdf

OFFICE = "Aldmoor Harbour Office"
_SAMPLE = "Sample document: the office, its people and its harbour are invented."
_COLUMN = WIDTH - 2 * MARGIN
_BODY = 12.5  # points
_LEADING = 18.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample document."""

    name: str
    about: str  # expected result of a run
    data: bytes = field(repr=False)


@cache
def samples() -> tuple[Sample, ...]:
    """Return the sample documents; the same bytes every time."""
    return (
        Sample(
            "tide-gate-report.pdf",
            "Marked the same on every page: published without an approval.",
            write_pdf(list(_tide_gate()), title="Tide gate report"),
        ),
        Sample(
            "pilot-boat-review.pdf",
            "The pages contradict each other: an approval is requested.",
            write_pdf(list(_pilot_boat()), title="Pilot boat review"),
        ),
        Sample(
            "lighthouse-memo-scan.pdf",
            "A scan without a text layer: read from its page images if OCR is available.",
            scanned(list(_lighthouse()), title="Lighthouse memo", seed=1907),
        ),
    )


class _Report:
    """A page of print with a banner at head and foot, filled from the top."""

    def __init__(self, banner: str, number: int, of: int) -> None:
        self.sheet = Sheet()
        self._top = 108.0
        for top in (44.0, HEIGHT - 34.0):
            self.sheet.centred(top, banner, font="label-bold", size=13)
        self.sheet.rule(66)
        self.sheet.text(MARGIN, 61, OFFICE, font="label", size=8)
        page = f"Page {number} of {of}"
        self.sheet.text(WIDTH - MARGIN - 43, 61, page, font="label", size=8)
        self.sheet.centred(HEIGHT - 54, _SAMPLE, font="text-italic", size=8)

    def title(self, words: str) -> _Report:
        """Write a title."""
        self.sheet.text(MARGIN, self._top + 8, words, font="text-bold", size=18)
        self._top += 40
        return self

    def heading(self, words: str) -> _Report:
        """Write a heading."""
        self._top += 8
        self.sheet.text(MARGIN, self._top, words, font="label-bold", size=11)
        self._top += 20
        return self

    def paragraphs(self, *texts: str) -> _Report:
        """Write paragraphs."""
        for text in texts:
            for line in wrapped(text, _COLUMN, font="text", size=_BODY):
                self.sheet.text(MARGIN, self._top, line, size=_BODY)
                self._top += _LEADING
            self._top += 7
        return self


def _numbered(banners: Sequence[str]) -> Iterator[_Report]:
    for number, banner in enumerate(banners, start=1):
        yield _Report(banner, number, len(banners))


def _tide_gate() -> Iterator[Sheet]:
    first, second, third = _numbered(["CONFIDENTIAL//NOFORN"] * 3)
    first.title("Tide gate at the inner basin: report").paragraphs(
        "(U) This report describes the state of the tide gate at the inner basin "
        "after the winter of last year, and what the works department proposes to do "
        "about it.",
        "(C//NF) The gate no longer closes fully at spring tide. Twice in February "
        "the water in the basin fell by more than a metre overnight, and the survey "
        "boats touched the ground at their moorings.",
        "(U) Nobody was hurt, and no boat was lost. The keeper of the gate, Mrs "
        "Ottoline Farr, noticed both times before the morning shift.",
    ).heading("1. What was found").paragraphs(
        "(C//NF) Divers found that the lower hinge has worn by eleven millimetres. "
        "The seal on the seaward side is missing over a length of two metres.",
        "(U) The upper hinge and the chain are in good order. The motor was replaced "
        "three years ago and has run without a fault since.",
        "(C//NF) The wear explains why the gate closes at neap tide but not at spring"
        " tide, when the water presses against it from the seaward side for longer.",
    )
    second.heading("2. What it would take").paragraphs(
        "(C//NF) A new hinge can be cast at the yard in Skelby within nine weeks. "
        "While it is being fitted the basin has to be kept dry for four days.",
        "(U) The seal can be replaced from a boat. The works department has enough of"
        " it in store for two gates.",
        "(U) The cost is given in the table of the annex, which the treasurer has "
        "seen.",
    ).heading("3. What may go wrong").paragraphs(
        "(C//NF) If the hinge fails before it is replaced, the gate will hang from "
        "the chain alone. The chain would hold for one tide, perhaps for two.",
        "(U) The keeper has been told to raise the gate at any sign of movement, and "
        "to keep the key of the winch with her.",
    )
    third.heading("4. What is proposed").paragraphs(
        "(U) Order the hinge now, and fit it in the first week of September, when the"
        " tides are small and the survey boats are away.",
        "(C//NF) Until then, no boat with a draught of more than two metres should "
        "lie in the inner basin at spring tide.",
        "(U) The harbour master is asked to decide by the end of the month.",
    ).paragraphs("Ambrose Tilling, works department, Aldmoor Harbour Office")
    for report in (first, second, third):
        yield report.sheet


def _pilot_boat() -> Iterator[Sheet]:
    first, second, third = _numbered(["SECRET", "CONFIDENTIAL", "SECRET"])
    first.title("Review of the pilot boat service").paragraphs(
        "(U) The harbour master asked for a review of the pilot boats after the fog "
        "of last October, when three ships waited outside for two days.",
        "(S) The review finds that the boats were ready, but that the pilots had not "
        "been told which ships were expected. The list is kept in one book, and the "
        "book was in a locked room.",
        "(C) The night watch knew of the ships from the radio and did not pass it on.",
    ).heading("1. The boats").paragraphs(
        "(U) There are two boats, Kittiwake and Turnstone. Both are sound. Turnstone "
        "needs a new propeller before the winter.",
        "(U) The crews are complete and well trained. Their secretary keeps the "
        "roster.",
    )
    second.heading("2. The list of ships").paragraphs(
        "(C) The list should be copied every evening, and one copy kept on each boat.",
        "(TS//SI) The list of ships whose cargo is not declared is received by radio "
        "and must not be copied at all. It is read to the senior pilot in person.",
        "(U) Two pilots asked for a telephone in the boat house. It has been ordered.",
    ).heading("3. The fog").paragraphs(
        "(U) Fog signals were given throughout. The new horn can be heard at four "
        "miles.",
        "(C) One ship answered on a frequency that the office does not watch.",
    )
    third.heading("4. Recommendations").paragraphs(
        "(S) Give the senior pilot a key to the room where the book is kept.",
        "(U) Write down who passes on what the radio says, and when.",
        "(U) Look at the matter again in spring.",
    ).paragraphs("Drusilla Penhale, for the harbour master, Aldmoor Harbour Office")
    for report in (first, second, third):
        yield report.sheet


_MEMO = (
    "TO:       The harbour master",
    "FROM:     The keeper of the Long Sand light",
    "SUBJECT:  Lamp, stores and visitors",
    "",
    "1.  The lamp was out for eleven minutes in the night of the",
    "    third. The wick had been trimmed too short. It was lit",
    "    again before any ship could have passed.",
    "",
    "2.  Oil is enough for forty days. Flour and lamp glass are",
    "    short. The boat has not come since the new moon.",
    "",
    "3.  Two gentlemen landed on the ninth and asked to see the",
    "    signal book. They said they had been sent by",
    "                      and gave the name of                .",
    "    They were not shown it.",
)
_MEMO_END = (
    "4.  I should like to know whether such visits are to be",
    "    expected, and who may give leave for them.",
    "",
    "5.  The fog bell has a crack. It can be heard, but it is",
    "    no longer the note that the chart gives for it.",
    "",
    "",
    "                         J. Merriweather",
    "                         Keeper, Long Sand",
)


def _lighthouse() -> Iterator[Sheet]:
    for number, lines in enumerate((_MEMO, _MEMO_END), start=1):
        sheet = Sheet()
        for top in (60.0, HEIGHT - 40.0):
            sheet.centred(top, "RESTRICTED", font="label-bold", size=19)
        sheet.centred(104, OFFICE.upper(), font="typed-bold", size=12)
        sheet.centred(HEIGHT - 78, _SAMPLE, font="typed", size=7)
        sheet.text(WIDTH - 2 * MARGIN, 84, f"- {number} -", font="typed", size=10)
        for row, line in enumerate(lines):
            sheet.text(80, 150 + 19 * row, line, font="typed", size=11.5)
        if number == 1:
            sheet.box(84, 384, 140, 13)
            sheet.box(394, 384, 108, 13)
        yield sheet
