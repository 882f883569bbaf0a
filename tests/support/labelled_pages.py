"""Pages whose classification is given by labelled lines, generated from a seed.

A page has one or two blocks of labels in one of several layouts, with synonyms, unrelated
fields and prose that contains the same terms; some pages also have banners or portion
marks. `LabelledPage.needs_review` is set if a page contradicts itself or contains an
unknown marking, so that a person must decide.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workflows.definitions.markings import Level
from workflows.samples.writer import HEIGHT, WIDTH, Sheet, width_of, write_pdf

LEVELS = {
    Level.TOP_SECRET: ("Top Secret", "TS"),
    Level.SECRET: ("Secret", "NATO Secret", "(S)"),
    Level.CONFIDENTIAL: ("Confidential",),
    Level.RESTRICTED: ("Restricted", "NATO Restricted"),
    Level.UNCLASSIFIED: ("Unclassified",),
}
CAVEATS = {
    "NOFORN": ("NOFORN", "NF", "Not releasable to foreign nationals"),
    "ORCON": ("ORCON", "OC"),
    "PROPIN": ("PROPIN",),
    "LIMDIS": ("LIMDIS", "Limited distribution"),
    "CRYPTO": ("CRYPTO",),
    "SI": ("SI", "COMINT"),
    "REL TO USA, GBR": ("REL TO USA, GBR",),
}
LEVEL_LABELS = (
    "Classification",
    "Overall classification",
    "Classification level",
    "Security classification",
    "Document classification",
    "Protective marking",
)
CAVEAT_LABELS = (
    "Caveats",
    "Dissemination controls",
    "Handling caveats",
    "Handling instructions",
    "Handling",
    "Releasability",
    "Control markings",
    "Caveat(s)",
)
OTHER_LABELS = ("Terms", "Handling", "Restrictions")
UNKNOWN = ("XYZZY", "AMBER GATE", "BURN AFTER READING", "PLOVER")
OTHER_FIELDS = (
    ("Date", "12 May 1974"),
    ("From", "Works department"),
    ("Copy no.", "3 of 7"),
    ("Subject", "State of the harbour"),
    ("Reference", "WD/74/118"),
)
PROSE = (
    "The classification of animals: none of the gulls belongs to the rarer kinds.",
    "In terms of handling: the boats are steady, and the crew has no caveats to add.",
    "Nobody spoke of the classification, and the handling of the ropes was as before.",
    "The pump at the inner basin has been repaired and ran for six hours.",
    "A copy of the chart was handed to the senior pilot, who signed for it.",
    "The class of the ship: a bulk carrier. Its handling in heavy weather is fair.",
    "Stores are enough for forty days; lamp glass and rope are short.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One label and its value."""

    label: str
    value: str


@dataclass(slots=True)
class LabelledPage:
    """A document with its expected classification."""

    name: str
    level: Level | None
    caveats: frozenset[str]
    needs_review: bool
    sheet: Sheet = field(repr=False)

    @property
    def pdf(self) -> bytes:
        """Return it as a PDF with a text layer."""
        return write_pdf([self.sheet], title=self.name)


def labelled_page(seed: int, *, is_plain: bool = False) -> LabelledPage:
    """Return the document of a seed; a plain one has one consistent block of labels."""
    rng = random.Random(f"labelled {seed}")  # noqa: S311 - noise, not a secret
    page = _Page(rng, is_plain=is_plain)
    page.fill()
    return LabelledPage(
        f"{seed} {page.name}",
        page.level,
        frozenset(page.caveats),
        page.needs_review,
        page.sheet,
    )


class _Page:
    """Draws a page."""

    def __init__(self, rng: random.Random, *, is_plain: bool) -> None:
        self.rng, self.is_plain = rng, is_plain
        self.sheet = Sheet()
        self.level: Level = rng.choice(list(LEVELS))
        self.caveats: set[str] = set()
        self.needs_review = False
        self.name = ""
        self.font = rng.choice(("typed", "typed-bold", "label", "label-bold", "text"))
        self.size = rng.choice((10.5, 11.5, 13.0))
        self.top = 0.0

    def fill(self) -> None:
        """Draw everything."""
        rng = self.rng
        self.top = rng.choice((44.0, 60.0, 130.0, 330.0))
        blocks = 1 if self.is_plain or rng.random() < 0.75 else 2
        for number in range(blocks):
            self._block(self.level if number == 0 else self._other_level())
            self.top += rng.choice((30, 60))
            self._prose(rng.randint(1, 3))
        if not self.is_plain and rng.random() < 0.4:
            self._banner()
        if not self.is_plain and rng.random() < 0.3:
            self._portion()
        self._prose(2)

    def _other_level(self) -> Level:
        if self.rng.random() < 0.5:
            return self.level
        other = self.rng.choice([one for one in LEVELS if one is not self.level])
        self._add_level(other)
        return other

    def _add_level(self, other: Level) -> None:
        self.needs_review = self.needs_review or other is not self.level
        self.level = max(self.level, other, key=lambda level: level.rank)

    def _block(self, level: Level) -> None:
        rng = self.rng
        count = rng.choice((0, 1, 1, 1, 2))
        rows = [Row(rng.choice(LEVEL_LABELS), rng.choice((level, *LEVELS[level])))]
        named = rng.sample(sorted(CAVEATS), count)
        if "NOFORN" in named and "REL TO USA, GBR" in named:
            named.remove("REL TO USA, GBR")
        if named and rng.random() < 0.15 and "(" not in rows[0].value:
            rows[0] = Row(rows[0].label, "//".join([level, *named]))
        else:
            rows += self._caveat_rows(named)
        self.caveats |= set(named)
        if rng.random() < 0.4:
            rows.append(Row(rng.choice(("Terms", "Restrictions")), "None"))
        if not self.is_plain and rng.random() < 0.2:
            rows.append(self._unknown_row())
            self.needs_review = True
        rows += [Row(*one) for one in rng.sample(OTHER_FIELDS, rng.randint(0, 2))]
        rng.shuffle(rows)
        self._draw([self._cased(row) for row in rows])

    def _caveat_rows(self, named: Sequence[str]) -> list[Row]:
        rng = self.rng
        labels = rng.sample(CAVEAT_LABELS, 2)
        values = [rng.choice(CAVEATS[caveat]) for caveat in named]
        if not named:
            return [Row("Caveats", rng.choice(("None", "NIL", "N/A")))]
        if len(named) == 1 or rng.random() < 0.6:
            sign = rng.choice((", ", "/", " // ", "; "))
            return [Row(labels[0], sign.join(values))]
        return [Row(*row) for row in zip(labels, values, strict=True)]

    def _unknown_row(self) -> Row:
        rng = self.rng
        label = rng.choice(("Special handling", "Dissemination controls", "Caveats"))
        return Row(label, rng.choice((*UNKNOWN, "", "________", "see covering letter")))

    def _cased(self, row: Row) -> Row:
        kind = self.rng.choice(("as it is", "capitals", "capitals", "label", "small"))
        if kind == "capitals":
            return Row(row.label.upper(), row.value.upper())
        if kind == "label":
            return Row(row.label.upper(), row.value)
        return Row(row.label.lower(), row.value) if kind == "small" else row

    # Layouts -------------------------------------------------------------------------

    def _draw(self, rows: Sequence[Row]) -> None:
        layouts: dict[str, Callable[[Sequence[Row]], None]] = {
            "lines": self._lines,
            "below": self._below,
            "columns": self._columns,
            "table": self._table,
            "leaders": self._leaders,
            "in one line": self._in_one_line,
        }
        name = self.rng.choice(list(layouts))
        self.name = f"{self.name} {name}".strip()
        layouts[name](rows)

    def _write(self, left: float, text: str) -> None:
        """Write a text, in a smaller size if it does not fit."""
        room = WIDTH - left - 20
        size = min(
            self.size, self.size * room / width_of(text or " ", self.font, self.size)
        )
        if text:
            self.sheet.text(left, self.top, text, font=self.font, size=size)

    def _step(self, share: float = 1.0) -> None:
        self.top += self.size * 1.5 * share

    def _lines(self, rows: Sequence[Row]) -> None:
        left = self.rng.choice((72.0, 72.0, 260.0))
        sign = self.rng.choice((": ", ":", " : ", " - ", " = ", ":   "))
        for row in rows:
            self._write(left, f"{row.label}{sign}{row.value}")
            self._step()

    def _below(self, rows: Sequence[Row]) -> None:
        left = self.rng.choice((72.0, 200.0))
        sign = self.rng.choice((":", ""))
        for row in rows:
            self._write(left, f"{row.label}{sign}")
            self._step()
            self._write(left, row.value)
            self._step(1.4)

    def _columns(self, rows: Sequence[Row]) -> None:
        sign = self.rng.choice((":", "", " ="))
        widest = max(width_of(row.label, self.font, self.size) for row in rows)
        order = self.rng.choice(("rows", "columns"))
        tops = []
        for row in rows:
            tops.append(self.top)
            self._write(72, f"{row.label}{sign}")
            if order == "rows":
                self._write(72 + widest + 40, row.value)
            self._step()
        if order == "columns":  # the text layer has one column after the other
            for row, top in zip(rows, tops, strict=True):
                self.top = top
                self._write(72 + widest + 40, row.value)
            self._step()

    def _table(self, rows: Sequence[Row]) -> None:
        left, start = 50.0, self.top
        self.size = min(self.size, 10.5)
        for row in rows:
            cell = max(
                width_of(t, self.font, self.size) for t in (row.label, row.value)
            )
            if left > 50 and left + cell > WIDTH - 40:
                left = 50.0
                start += 4 * self.size
            self.top = start
            self._write(left, row.label)
            self._step()
            self._write(left, row.value)
            left += cell + 30
        self._step()

    def _leaders(self, rows: Sequence[Row]) -> None:
        for row in rows:
            dots = "." * (40 - len(row.label))
            self._write(72, f"{row.label} {dots} {row.value}")
            self._step()

    def _in_one_line(self, rows: Sequence[Row]) -> None:
        sign = self.rng.choice(("; ", " | ", "    ", "  "))
        line = ""
        for row in rows:
            part = f"{row.label}: {row.value}"
            if line and width_of(line + sign + part, self.font, self.size) > 450:
                self._write(60, line)
                self._step()
                line = ""
            line = f"{line}{sign}{part}" if line else part
        self._write(60, line)
        self._step()

    # Surrounding text ----------------------------------------------------------------

    def _banner(self) -> None:
        level = self._other_level()
        for top in (24.0, HEIGHT - 24.0):
            self.sheet.centred(top, level, font="label-bold", size=13)

    def _portion(self) -> None:
        mark = self.rng.choice(("(U)", "(C)", "(S//NF)"))
        self.sheet.text(72, self.top, f"1. {mark} The boat leaves at night.", size=11)
        self.top += 18
        if mark == "(S//NF)":
            self._add_level(max(self.level, Level.SECRET, key=lambda level: level.rank))
            self.needs_review = self.needs_review or "NOFORN" not in self.caveats
            self.caveats.add("NOFORN")
        if mark == "(C)":
            self._add_level(
                max(self.level, Level.CONFIDENTIAL, key=lambda level: level.rank)
            )

    def _prose(self, sentences: int) -> None:
        for sentence in self.rng.sample(PROSE, sentences):
            self.sheet.text(72, self.top, sentence, font="text", size=11)
            self.top += 17
        self.top += 12
