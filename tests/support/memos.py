"""Typed memos as output of copiers and fax machines, each with its expected marking.

The seed of a memo determines its text, the defects of the machine and the positions of its
stamps, but not its marking. Thresholds are chosen with one seed and evaluated with held-out
seeds.
"""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tests.support.handwriting import written_by_hand
from workflows.definitions.markings import Level
from workflows.documents.pdf import render_page
from workflows.samples.writer import HEIGHT, WIDTH, Photo, Sheet, write_pdf

DPI = 200
PAPER = (1653, 2339)  # pixels of A4
SEED, HELD_OUT = 1962, (7, 404, 2718)
Ink = Image.Image  # "L": 255 where there is ink, 0 where there is none


@dataclass(frozen=True, slots=True)
class Stamp:
    """A stamped marking."""

    text: str
    at: str = "head"  # head, foot, middle, or side: along the right edge
    font: str = "label-bold"  # one of the writer's, or "hand"
    size: float = 20.0  # points
    ink: float = 0.95  # 0..1, how black
    worn: float = 0.0  # 0..1, share that did not print
    missing: int = 0  # letters that are almost illegible
    lost: str = ""  # letters that are always missing; the first occurrence of each
    turn: float = 0.0  # maximum rotation in degrees, in either direction
    boxed: bool = False
    offset: float = 0.0  # offset from the middle, as a share of the width


@dataclass(frozen=True, slots=True)
class Memo:
    """A memo with its expected marking."""

    name: str
    level: Level | None
    caveats: tuple[str, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    machine: str = "copier"  # copier, old copier, fax, coarse fax
    turned: int = 0  # orientation in degrees clockwise
    body: str = "plain"  # plain, misleading
    bars: int = 0  # redacted places
    skew: float = 0.8  # maximum rotation in degrees, in either direction
    is_hard: bool = field(default=False)  # ambiguous for people, too
    is_short: bool = False  # only a few sentences, for speed

    def draw(self, seed: int) -> bytes:
        """Return the PDF; the same one for the same seed."""
        return _drawn(self, seed)


def both(text: str, **options: object) -> tuple[Stamp, ...]:
    """Return the same stamp at head and foot."""
    return tuple(Stamp(text, at=at, **options) for at in ("head", "foot"))  # type: ignore[arg-type]


NOFORN = ("NOFORN",)
MEMOS = (
    Memo("clean", Level.SECRET, NOFORN, both("SECRET//NOFORN"), bars=2),
    Memo("fax", Level.SECRET, (), both("SECRET", size=26), machine="fax", bars=4),
    Memo("top secret askew", Level.TOP_SECRET, (), both("TOP SECRET"), skew=2.5),
    Memo(
        "grainy",
        Level.CONFIDENTIAL,
        (),
        both("CONFIDENTIAL", font="typed-bold", size=16),
        machine="old copier",
    ),
    Memo("unclassified", Level.UNCLASSIFIED, (), both("UNCLASSIFIED", size=16)),
    Memo(
        "faded",
        Level.SECRET,
        NOFORN,
        both("SECRET//NOFORN", size=18, ink=0.3, worn=0.25),
        bars=3,
    ),
    Memo(
        "letters missing at the head",
        Level.SECRET,
        (),
        (Stamp("SECRET", size=26, worn=0.3, missing=2), Stamp("SECRET", "foot")),
        machine="old copier",
    ),
    Memo(
        "letters missing at both",
        Level.CONFIDENTIAL,
        (),
        both("CONFIDENTIAL", size=24, ink=0.6, worn=0.2, missing=2),
    ),
    Memo(
        "letters missing of top secret",
        Level.TOP_SECRET,
        NOFORN,
        (
            Stamp("TOP SECRET//NOFORN", size=18, missing=3, worn=0.2),
            Stamp("TOP SECRET//NOFORN", "foot", size=18),
        ),
        bars=3,
    ),
    Memo("slanted", Level.SECRET, NOFORN, both("SECRET//NOFORN", turn=11, size=22)),
    Memo(
        "stamped at the foot only",
        Level.SECRET,
        (),
        (Stamp("SECRET", "foot", size=30, turn=6, offset=0.2),),
        machine="fax",
    ),
    Memo("lies on its side", Level.SECRET, (), both("SECRET", size=24), turned=90),
    Memo(
        "upside down",
        Level.CONFIDENTIAL,
        NOFORN,
        both("CONFIDENTIAL//NOFORN", size=15),
        turned=180,
        bars=2,
    ),
    Memo(
        "lies on its other side",
        Level.TOP_SECRET,
        (),
        both("TOP SECRET", font="text-bold", size=24),
        turned=270,
        machine="fax",
    ),
    Memo(
        "by hand",
        Level.SECRET,
        (),
        both("SECRET", font="hand", size=30, turn=4),
        bars=2,
    ),
    Memo(
        "by hand at the head only",
        Level.CONFIDENTIAL,
        (),
        (Stamp("CONFIDENTIAL", font="hand", size=28, turn=3),),
    ),
    Memo(
        "by hand with caveat",
        Level.TOP_SECRET,
        NOFORN,
        both("TOP SECRET//NOFORN", font="hand", size=24, ink=0.7, turn=2),
        machine="old copier",
    ),
    Memo("unmarked", None),
    Memo("unmarked, speaks of secrets", None, body="misleading", machine="fax"),
    Memo("unmarked, blacked out", None, machine="old copier", bars=14),
    Memo(
        "mostly blacked out",
        Level.SECRET,
        (),
        both("SECRET", font="text-bold", size=22),
        machine="coarse fax",
        bars=16,
    ),
    Memo(
        "two caveats by fax",
        Level.SECRET,
        ("ORCON", "NOFORN"),
        both("SECRET//ORCON//NOFORN", size=16),
        machine="fax",
    ),
    Memo(
        "released to two",
        Level.SECRET,
        ("REL TO USA, GBR",),
        both("SECRET//REL TO USA, GBR", size=15),
        bars=2,
    ),
    Memo(
        "compartment",
        Level.TOP_SECRET,
        ("SI", "NOFORN"),
        both("TOP SECRET//SI//NOFORN", size=15),
        machine="old copier",
        bars=5,
    ),
    Memo(
        "hardly anything left of it",
        Level.SECRET,
        (),
        (Stamp("SECRET", size=26, ink=0.22, worn=0.4),),
        is_hard=True,
    ),
    Memo(
        "says it is no secret",
        Level.CONFIDENTIAL,
        (),
        both("CONFIDENTIAL", size=18),
        body="misleading",
    ),
    Memo(
        "one of two cannot be read",
        Level.SECRET,
        NOFORN,
        (
            Stamp("SECRET//NOFORN", size=18),
            Stamp("SECRET//NOFORN", "foot", size=18, ink=0.25, worn=0.55, missing=4),
        ),
        machine="coarse fax",
    ),
    Memo(
        "boxed and slanted",
        Level.RESTRICTED,
        (),
        both("RESTRICTED", boxed=True, turn=9, size=20),
    ),
    Memo(
        "for official use",
        Level.UNCLASSIFIED,
        ("FOUO",),
        both("UNCLASSIFIED//FOUO", font="typed-bold", size=15),
        machine="fax",
    ),
    Memo(
        "declassified since",
        Level.SECRET,
        (),
        (
            *both("SECRET", size=24, ink=0.8),
            Stamp("DECLASSIFIED", "middle", size=20, turn=8, boxed=True),
        ),
        bars=3,
    ),
    Memo(
        "half of top secret is gone",
        Level.TOP_SECRET,
        (),
        both("TOP SECRET", size=24, lost="TOP", worn=0.15),
        is_hard=True,
    ),
    Memo(
        "every other letter is gone",
        Level.SECRET,
        (),
        both("SECRET", size=30, missing=3, worn=0.2),
        machine="old copier",
        is_hard=True,
    ),
    Memo(
        "faint by coarse fax",
        Level.CONFIDENTIAL,
        NOFORN,
        both("CONFIDENTIAL//NOFORN", size=18, ink=0.55, worn=0.35),
        machine="coarse fax",
        bars=4,
        is_hard=True,
    ),
    Memo(
        "along the side",
        Level.SECRET,
        (),
        (Stamp("SECRET", "side", size=26, turn=3),),
    ),
    Memo(
        "across the text",
        Level.SECRET,
        NOFORN,
        (Stamp("SECRET//NOFORN", "middle", size=34, turn=18, ink=0.8, boxed=True),),
    ),
    Memo(
        "very much askew",
        Level.TOP_SECRET,
        ("ORCON",),
        both("TOP SECRET//ORCON", size=18, turn=6),
        machine="old copier",
        skew=5.0,
    ),
    Memo(
        "by hand, worn, upside down",
        Level.CONFIDENTIAL,
        (),
        both("CONFIDENTIAL", font="hand", size=26, worn=0.3, ink=0.7),
        machine="fax",
        turned=180,
        is_hard=True,
    ),
    Memo(
        "head and foot differ",
        Level.SECRET,
        (),
        (Stamp("CONFIDENTIAL", size=18), Stamp("SECRET", "foot", size=24, ink=0.4)),
        machine="old copier",
    ),
    Memo(
        "the caveat is worn off at both",
        Level.SECRET,
        NOFORN,
        both("SECRET//NOFORN", size=20, lost="NOF", worn=0.3),
        is_hard=True,
    ),
)


# Content -----------------------------------------------------------------------------

_NAMES = ("Merriweather", "Farr", "Tilling", "Penhale", "Ormerod", "Vance", "Lisle")
_PLAIN = (
    "The boats were counted on the morning of the ninth and found to be in order.",
    "Two visitors came ashore and asked for the signal book, which was not shown.",
    "The pump at the inner basin has been repaired and ran for six hours without fault.",
    "Stores are enough for forty days; lamp glass and rope are short.",
    "It is requested that the estimate be returned before the end of the month.",
    "The watch reports that the channel was clear of ice during the whole period.",
    "Costs have been charged to the account of the works department as before.",
    "A copy of the chart was handed to the senior pilot, who signed for it.",
    "The meeting agreed that the matter should be raised again in the spring.",
    "No answer has been received to the letter of the fourteenth.",
)
_MISLEADING = (
    "It is no secret that the gate leaks, and the secretary has written of it often.",
    "The town council wants the report to be public and its annex to be unclassified.",
    "He spoke in confidence, and asked that a confidential reply be sent to his house.",
    "Nobody could tell the secret of the lamp, which had been classified as a curio.",
    "The restricted channel was opened; the top of the secret drawer is missing.",
)


def _memo(memo: Memo, rng: random.Random) -> Sheet:
    sheet = Sheet()
    sentences = list(_PLAIN)
    if memo.body == "misleading":
        sentences = [*_MISLEADING, *_PLAIN[: 0 if memo.is_short else 4]]
    elif memo.is_short:
        sentences = sentences[:3]
    rng.shuffle(sentences)
    name = rng.choice(_NAMES)
    top = rng.uniform(120, 150)
    day = f"{rng.randint(2, 28)} March {rng.randint(1957, 1979)}"
    head = [
        "MEMORANDUM FOR THE RECORD",
        "",
        f"TO:       {rng.choice(_NAMES)}, works department",
        f"FROM:     {name}",
        f"DATE:     {day}",
        "SUBJECT:  State of the harbour",
        "",
    ]
    lines = head + _paragraphs(sentences, rng)
    for row, line in enumerate(lines):
        sheet.text(72, top + 16.5 * row, line, font="typed", size=10.5)
    for _ in range(memo.bars):
        row = rng.randrange(len(head), len(lines))
        left, width = rng.uniform(72, 300), rng.uniform(60, 230)
        sheet.box(left, top + 16.5 * row - 9, width, 12)
    sheet.text(340, top + 16.5 * (len(lines) + 2), name, font="typed", size=10.5)
    return sheet


def _paragraphs(sentences: list[str], rng: random.Random) -> list[str]:
    lines: list[str] = []
    for number, start in enumerate(range(0, len(sentences), 2), start=1):
        row = f"{number}.  "
        for word in " ".join(sentences[start : start + 2]).split():
            if len(row) + len(word) > 68:
                lines.append(row)
                row = "    "
            row += f"{word} "
        lines += [row, ""]
    return lines[: rng.randint(20, 28)]


def _ink_of(sheet: Sheet) -> Ink:
    """Render a sheet as an ink mask."""
    drawn = render_page(write_pdf([sheet], title="Memo"), 1, dpi=DPI).data
    image = Image.open(io.BytesIO(drawn)).convert("L").resize(PAPER)
    return ImageChops.invert(image)


# Stamps ------------------------------------------------------------------------------


def _stamped(page: Ink, stamp: Stamp, rng: random.Random) -> Ink:
    ink = _lettering(stamp, rng)
    if stamp.boxed:
        ImageDraw.Draw(ink).rectangle(
            (3, 3, ink.width - 4, ink.height - 4), outline=255, width=5
        )
    if stamp.missing or stamp.lost:
        _lose_letters(ink, stamp, rng)
    if stamp.worn:
        ink = ImageChops.multiply(ink, _wear(ink.size, stamp.worn, rng))
    ink = ink.point(lambda grey: round(grey * stamp.ink))
    angle = rng.uniform(0.5, 1) * stamp.turn * rng.choice((-1, 1))
    ink = ink.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    if stamp.at == "side":
        ink = ink.rotate(90, expand=True)
    across = 0.5 + stamp.offset * rng.choice((-1, 1)) + rng.uniform(-0.01, 0.01)
    down = {"head": 0.045, "foot": 0.955, "middle": 0.8, "side": 0.5}[stamp.at]
    across = 0.95 if stamp.at == "side" else across
    down += rng.uniform(-0.008, 0.008)
    left = round(page.width * across - ink.width / 2)
    top = round(page.height * down - ink.height / 2)
    left = min(max(left, 10), page.width - ink.width - 10)
    top = min(max(top, 10), page.height - ink.height - 10)
    laid = Image.new("L", page.size)
    laid.paste(ink, (left, top))
    return ImageChops.lighter(page, laid)


def _lettering(stamp: Stamp, rng: random.Random) -> Ink:
    """Return the letters, cropped with a margin for a box."""
    if stamp.font == "hand":
        ink = written_by_hand(stamp.text, round(stamp.size * DPI / 72), rng)
    else:
        sheet = Sheet()
        sheet.text(20, HEIGHT / 2, stamp.text, font=stamp.font, size=stamp.size)
        ink = _ink_of(sheet)
    box = ink.getbbox()
    if box is None:
        raise ValueError(f"{stamp.text!r} left no ink")
    room = 16
    return ink.crop((box[0] - room, box[1] - room, box[2] + room, box[3] + room))


def _lose_letters(ink: Ink, stamp: Stamp, rng: random.Random) -> None:
    """Erase some letters."""
    letters = len(stamp.text)
    width = (ink.width - 32) / letters
    places = [at for at, sign in enumerate(stamp.text) if sign.isalpha()]
    draw = ImageDraw.Draw(ink)
    lost = [stamp.text.index(letter) for letter in stamp.lost]
    for at in (*lost, *rng.sample(places, stamp.missing)):
        left = 16 + width * at
        top = rng.choice((0.0, 0.35)) * ink.height
        draw.rectangle((left, top, left + width, ink.height), fill=0)


def _wear(size: tuple[int, int], worn: float, rng: random.Random) -> Ink:
    """Return a mask with patches that the stamp did not print."""
    small = (max(2, size[0] // 6), max(2, size[1] // 6))
    noise = Image.frombytes("L", small, rng.randbytes(small[0] * small[1]))
    noise = noise.filter(ImageFilter.GaussianBlur(1.2)).resize(size)
    shades = sorted(noise.resize((64, 16)).tobytes())
    limit = shades[min(int(worn * len(shades)), len(shades) - 1)]
    return noise.point(lambda grey: 255 if grey >= limit else 60)


# Machines ----------------------------------------------------------------------------


@functools.cache
def _drawn(memo: Memo, seed: int) -> bytes:
    rng = random.Random(f"{seed} {memo.name}")  # noqa: S311 - noise, not a secret
    ink = _ink_of(_memo(memo, rng))
    for stamp in memo.stamps:
        ink = _stamped(ink, stamp, rng)
    ink = ink.rotate(rng.uniform(-memo.skew, memo.skew), Image.Resampling.BICUBIC)
    page = _MACHINES[memo.machine](ImageChops.invert(ink), rng)
    return _photographed(page.rotate(-memo.turned, expand=True), memo.name)


def copied(sheet: Sheet, machine: str, seed: int) -> bytes:
    """Return a sheet as a copy by a machine, as a PDF without a text layer."""
    rng = random.Random(f"{seed} {machine}")  # noqa: S311 - noise, not a secret
    ink = _ink_of(sheet).rotate(rng.uniform(-0.8, 0.8), Image.Resampling.BICUBIC)
    return _photographed(_MACHINES[machine](ImageChops.invert(ink), rng), machine)


def _photographed(page: Ink, title: str) -> bytes:
    target = io.BytesIO()
    page.save(target, format="JPEG", quality=60)
    wide, high = (WIDTH, HEIGHT) if page.height > page.width else (HEIGHT, WIDTH)
    photo = Photo(target.getvalue(), page.width, page.height)
    return write_pdf([Sheet(photo=photo, width=wide, height=high)], title=title)


def _copier(page: Ink, rng: random.Random) -> Ink:
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.9)))
    page = _grained(page, rng, 14)
    return _specked(page, rng, 80)


def _old_copier(page: Ink, rng: random.Random) -> Ink:
    paper, black = rng.randint(205, 235), rng.randint(50, 85)
    page = page.point(lambda grey: round(black + grey * (paper - black) / 255))
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 1.4)))
    draw = ImageDraw.Draw(page)
    for _ in range(rng.randint(1, 3)):  # dirt on the drum
        x = rng.randrange(page.width)
        draw.line((x, 0, x + rng.randint(-4, 4), page.height), fill=160, width=2)
    edge = rng.randint(8, 26)
    draw.rectangle((page.width - edge, 0, page.width, page.height), fill=60)
    return _specked(_grained(page, rng, 34), rng, 400)


def _fax(page: Ink, rng: random.Random) -> Ink:
    page = page.filter(ImageFilter.GaussianBlur(0.7))
    page = _grained(page, rng, 40)
    limit = rng.randint(150, 185)
    page = page.point(lambda grey: 255 if grey > limit else 0)
    page = _specked(page, rng, 350)
    for _ in range(rng.randint(0, 2)):  # lines lost in transmission
        y = rng.randrange(page.height - 4)
        page.paste(255, (0, y, page.width, y + 2))
    return page


def _coarse_fax(page: Ink, rng: random.Random) -> Ink:
    """98 lines to the inch, twice as many dots across."""
    flat = page.resize((page.width, page.height // 2), Image.Resampling.BOX)
    return _fax(flat.resize(page.size, Image.Resampling.BILINEAR), rng)


_MACHINES: dict[str, Callable[[Ink, random.Random], Ink]] = {
    "copier": _copier,
    "old copier": _old_copier,
    "fax": _fax,
    "coarse fax": _coarse_fax,
}


def _grained(page: Ink, rng: random.Random, strength: int) -> Ink:
    noise = Image.frombytes("L", page.size, rng.randbytes(page.width * page.height))
    noise = noise.point(lambda grey: round(grey * 2 * strength / 255))
    return ImageChops.add(page, noise, offset=-strength)


def _specked(page: Ink, rng: random.Random, strength: int) -> Ink:
    for _ in range(rng.randint(strength // 2, strength)):
        x, y = rng.randrange(page.width - 4), rng.randrange(page.height - 4)
        size = rng.choice((1, 2, 2, 3))
        page.paste(rng.choice((0, 90, 255)), (x, y, x + size, y + size))
    return page
