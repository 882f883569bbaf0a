"""OCR of page images: typed, stamped, handwritten, faint, rotated or slanted text.

Runs in a child of the pool only. The models are files of the rapidocr package; nothing is
fetched, and a package without its models is refused when this is imported.

    picture  →  upright  →  plain variant       text and unread ink
                        →  enhanced variants   header and footer, each enhanced in another way
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rapidocr
from PIL import Image

from workflows.documents.reader import image_enhancement
from workflows.documents.reader.image_enhancement import Grey
from workflows.documents.reader.page_encoding import encode_page
from workflows.documents.reader.pipe_protocol import Head
from workflows.runtime.records import Box, Line, Page, Word

MODELS = Path(rapidocr.__file__).parent / "models"
DETECTOR, RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
if missing := [m for m in (DETECTOR, RECOGNISER) if not (MODELS / m).is_file()]:
    raise ImportError(f"rapidocr has come without {' and '.join(missing)}")

MAX_PIXELS = 30_000_000
MAX_THREADS = 4  # of one child
BAND = 0.15  # of the page: header and footer area of enhanced variants
_DETECTION_PIXELS = (
    1280  # pixels of the longer side: enough to find lines, not to read them
)
_MIN_CONFIDENCE = 0.3  # of a line; below it the line counts as unread
_VERTICAL_RATIO = 1.5  # ratio of height to width from which a line is vertical
_MAX_TESTED_LINES = 8  # lines that determine the rotation of the page
_MIN_IMPROVEMENT = 1.15  # factor by which another rotation must be better
_MIN_LETTERS = 3  # to measure their distance
_RETRY_BELOW_CONFIDENCE = 0.8  # below it, a line is also read upside down

Quad = npt.NDArray[np.float32]  # four corners, clockwise from the line's top left


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text on an image."""

    text: str
    confidence: float  # 0..1
    quad: Quad  # pixels
    letters: tuple[float, float, float] = (0, 1, 0)  # centres of the first and the last
    # letter, and their distance, as fractions of the line's length


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a line without its position."""

    text: str
    confidence: float  # 0..1
    letters: tuple[float, float, float] = (0, 1, 0)

    def upside_down(self) -> Text:
        """Return the text with positions for a line that was rotated by 180°."""
        first, last, pitch = self.letters
        return Text(self.text, self.confidence, (1 - last, 1 - first, pitch))


def read_image(data: bytes, *, page: int, enhanced: bool) -> Head:
    """Return the text of an image, one page per variant."""
    grey, turned, plain = _read_plain(data)
    found = {"plain": plain, **(_read_enhanced(grey) if enhanced else {})}
    pages = [_page(page, name, grey, turned, lines) for name, lines in found.items()]
    return {"variants": [encode_page(one) for one in pages]}


@functools.lru_cache(maxsize=3)  # a second read usually follows soon
def _read_plain(data: bytes) -> tuple[Grey, int, list[TextLine]]:
    picture = Image.open(io.BytesIO(data))
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"{picture.width} by {picture.height} pixels are too many")
    grey, turned = _rotate_upright(np.asarray(picture.convert("L")))
    return grey, turned, _plain(grey)


def _page(
    number: int, name: str, grey: Grey, turned: int, found: list[TextLine]
) -> Page:
    height, width = grey.shape
    lines = [_line(one, width, height) for one in found]
    unread: tuple[Box, ...] = ()
    if name == "plain":
        ink = image_enhancement.ink_at_edges(grey)
        lines = [
            _add_unread_ink(line, ink, one, found) if _at_edge(line) else line
            for line, one in zip(lines, found, strict=True)
        ]
        unread = tuple(
            Box(left / width, top / height, right / width, bottom / height)
            for left, top, right, bottom in image_enhancement.unread_ink(
                ink, [line.box for line in lines]
            )
        )
    return Page(
        number=number,
        width=float(width),
        height=float(height),
        lines=tuple(lines),
        is_picture=True,
        is_blank=not lines and not unread,
        variant=name,
        turned=turned,
        unread=unread,
    )


def _at_edge(line: Line) -> bool:
    return not image_enhancement.EDGES < line.box.middle < 1 - image_enhancement.EDGES


def _add_unread_ink(
    line: Line, ink: Grey, one: TextLine, found: list[TextLine]
) -> Line:
    """Return the line with the unread ink next to it."""
    others = [other.quad for other in found if other is not one]
    before, after = image_enhancement.ink_around(ink, one.quad, others, one.letters)
    return replace(line, unread_before=before, unread_after=after)


def _line(found: TextLine, width: int, height: int) -> Line:
    """Return the line with a box for every word, by its share of the letters."""
    across = found.quad[:, 0] / width
    down = found.quad[:, 1] / height
    left, right = _clipped_range(across)
    top, bottom = _clipped_range(down)
    step, at, words = (right - left) / len(found.text), 0, []
    for part in found.text.split(" "):
        if part:
            place = Box(left + step * at, top, left + step * (at + len(part)), bottom)
            words.append(Word(part, place, round(found.confidence, 3)))
        at += len(part) + 1
    return Line(tuple(words))


def _clipped_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    least, most = np.clip((values.min(), values.max()), 0, 1)
    return float(least), float(most)


# Variants -----------------------------------------------------------------------------


def _plain(grey: Grey) -> list[TextLine]:
    return _read(grey, _find(grey))


def _read_enhanced(grey: Grey) -> dict[str, list[TextLine]]:
    """Return the lines of header and footer for each enhancement."""
    height = grey.shape[0]
    edge = round(height * BAND)
    bands = np.vstack((grey[:edge], grey[height - edge :]))
    readings: dict[str, list[TextLine]] = {}
    for name, enhance in _ENHANCEMENTS.items():
        readings[name] = lines = []
        for one in _plain(enhance(bands)):
            is_foot = float(one.quad[:, 1].mean()) > edge
            down = _to_quad((0, height - 2 * edge if is_foot else 0))
            lines.append(TextLine(one.text, one.confidence, one.quad + down))
    return readings


_ENHANCEMENTS: dict[str, Callable[[Grey], Grey]] = {
    "contrast": image_enhancement.increase_contrast,
    "faint": image_enhancement.amplify_faint_ink,
    "mended": image_enhancement.close_gaps,
    "smooth": image_enhancement.smooth,
}


def _rotate_upright(grey: Grey) -> tuple[Grey, int]:
    """Return the upright page and the rotation in degrees."""
    quads = _find(grey)
    sides = [_size(quad) for quad in quads]
    longest = sorted(range(len(quads)), key=lambda at: -max(sides[at]))[
        :_MAX_TESTED_LINES
    ]
    if not longest:
        return grey, 0
    tall = sum(sides[at][1] > _VERTICAL_RATIO * sides[at][0] for at in longest)
    lies = tall * 2 > len(longest)
    crops = [
        _crop(grey, quads[at]) for at in longest
    ]  # tall ones are rotated to the left
    one = _legibility_score(crops)
    other = _legibility_score([np.rot90(crop, 2) for crop in crops])
    flipped = other > one * _MIN_IMPROVEMENT
    turned = {(0, 0): 0, (0, 1): 180, (1, 0): 270, (1, 1): 90}[int(lies), int(flipped)]
    return np.ascontiguousarray(np.rot90(grey, -turned // 90)), turned


def _legibility_score(crops: list[Grey]) -> float:
    return sum(
        one.confidence * sum(sign.isalnum() for sign in one.text)
        for one in _texts(crops)
    )


# The models --------------------------------------------------------------------------


@functools.cache
def _engine() -> Any:
    threads = min(os.cpu_count() or 1, MAX_THREADS)
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.text_score": 0.0,
            "Global.return_word_box": True,
            "Det.limit_side_len": 320,  # small images are not enlarged
            "Det.model_path": str(MODELS / DETECTOR),
            "Rec.model_path": str(MODELS / RECOGNISER),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        }
    )


def _find(grey: Grey) -> list[Quad]:
    """Return the boxes of lines, from the top."""
    scale = min(1.0, _DETECTION_PIXELS / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    colour = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    found = _engine()(colour, use_det=True, use_cls=False, use_rec=False)
    if found.boxes is None:
        return []
    return [_to_quad(box) / np.float32(scale) for box in found.boxes]


def _to_quad(values: Any) -> Quad:
    return np.asarray(values, dtype=np.float32)


def _read(grey: Grey, quads: list[Quad]) -> list[TextLine]:
    crops = [_crop(grey, quad) for quad in quads]
    found = _texts(crops)
    unsure = [
        at for at, one in enumerate(found) if one.confidence < _RETRY_BELOW_CONFIDENCE
    ]
    others = _texts([np.rot90(crops[at], 2) for at in unsure])
    for at, other in zip(unsure, others, strict=True):
        if other.confidence > max(found[at].confidence, _RETRY_BELOW_CONFIDENCE):
            found[at] = other.upside_down()  # a stamp applied upside down
    return [
        TextLine(one.text, one.confidence, quad, one.letters)
        for one, quad in zip(found, quads, strict=True)
        if one.text and one.confidence >= _MIN_CONFIDENCE
    ]


def _texts(crops: list[Grey]) -> list[Text]:
    if not crops:
        return []
    pictures = [
        cv2.cvtColor(np.ascontiguousarray(c), cv2.COLOR_GRAY2BGR) for c in crops
    ]
    found = _engine().recognize_txt(pictures)
    return [
        Text(" ".join(text.split()), float(confidence), _letters(text, info))
        for text, confidence, info in zip(
            found.txts, found.scores, found.word_results, strict=True
        )
    ]


def _letters(text: str, info: Any) -> tuple[float, float, float]:
    """Return the centres of the first and last letter, and the distance of letters."""
    places = [
        (column + 0.5) / info.line_txt_len
        for columns in info.word_cols
        for column in columns
    ]
    signs = [sign for sign in text if not sign.isspace()]
    letters = [
        place for place, sign in zip(places, signs, strict=False) if sign.isalnum()
    ]
    if len(letters) < _MIN_LETTERS or len(places) != len(signs):
        return 0, 1, 0
    return letters[0], letters[-1], float(np.median(np.diff(letters)))


def _size(quad: Quad) -> tuple[float, float]:
    """Return the width and height of a line."""
    return (
        float(np.linalg.norm(quad[1] - quad[0])),
        float(np.linalg.norm(quad[3] - quad[0])),
    )


def _crop(grey: Grey, quad: Quad) -> Grey:
    """Return the image of a line, straightened; a vertical one is rotated."""
    width, height = (max(4, round(side)) for side in _size(quad))
    target = _to_quad([[0, 0], [width, 0], [width, height], [0, height]])
    turn = cv2.getPerspectiveTransform(quad, target)
    crop = cv2.warpPerspective(
        grey,
        turn,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if height > _VERTICAL_RATIO * width:
        crop = np.rot90(crop)
    return np.asarray(crop, dtype=np.uint8)
