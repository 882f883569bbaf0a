"""Enhance page images for OCR, and find ink that OCR did not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from workflows.runtime.records import Box

Grey = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float32]  # of a line, clockwise from its top left
Dark = npt.NDArray[np.float32]
Pixels = tuple[int, int, int, int]  # left, top, right, bottom

EDGES = 0.13  # of the page: header and footer, the position of markings
_PAPER = 41  # pixels: neighbourhood whose lightest value is paper
_NOISE_FACTOR = 4.0  # ink is darker than this many times the noise
_MIN_DARKNESS = 14  # of 255, darker than paper
_JOIN = (23, 5)  # pixels between letters of one word, across and down
_MIN_WIDTH, _MIN_HEIGHT, _MAX_HEIGHT = 0.04, 0.006, 0.07  # of the page
_MIN_INK = 0.08  # of a box
_BORDER = 0.012  # of the page: shadows of the scanner
_MARGIN = 0.008  # around what was read
_MIN_LETTERS = 2
_STRIP_MARGIN = 5.0  # line heights of context before and after a line
_COLUMN = 2  # pixels of ink
_HALF = 0.9  # letter widths from the centre of a letter to the start of the next
_REACH = 1.6  # letter widths of a gap within a line
_SPECK = 14  # pixels
_THROUGH, _THIN = 0.9, 0.3  # of a line's height


def increase_contrast(grey: Grey) -> Grey:
    """Return ink as black and paper as white, regardless of the copier's contrast."""
    dark = _darkness(grey)
    most = max(float(np.percentile(dark, 99.7)), _MIN_DARKNESS)
    return _grey(255 - np.clip(dark / most, 0, 1) * 255)


def amplify_faint_ink(grey: Grey) -> Grey:
    """Return the image with faint ink darkened."""
    dark = _blurred(_darkness(grey), 1.6)
    floor = _noise(dark)
    strong = np.clip((dark - floor) / max(3 * floor, 30.0), 0, 1)
    return _grey(255 - strong * 255)


def close_gaps(grey: Grey) -> Grey:
    """Return black on white, with small gaps in letters closed and specks removed."""
    dark = cv2.medianBlur(_grey(_darkness(grey)), 3)
    limit, _ = cv2.threshold(dark, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ink = np.where(dark > max(limit * 0.6, _MIN_DARKNESS), 255, 0).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, kernel)
    return _grey(255 - cv2.GaussianBlur(closed, (0, 0), 0.8))


def smooth(grey: Grey) -> Grey:
    """Return the page without grain, slightly blurred."""
    return _grey(cv2.GaussianBlur(cv2.medianBlur(grey, 5), (0, 0), 1.2))


def _darkness(grey: Grey) -> Dark:
    """Return for each pixel how much darker it is than the paper around it, 0..255."""
    kernel = np.ones((_PAPER, _PAPER), np.uint8)
    small = cv2.resize(cv2.medianBlur(grey, 5), None, fx=0.5, fy=0.5)
    paper = cv2.GaussianBlur(cv2.dilate(small, kernel), (0, 0), 12)
    wide = cv2.resize(paper, (grey.shape[1], grey.shape[0]))
    return np.clip(wide.astype(np.float32) - grey.astype(np.float32), 0, 255)


def _blurred(dark: Dark, by: float) -> Dark:
    return np.asarray(cv2.GaussianBlur(dark, (0, 0), by), dtype=np.float32)


def _noise(dark: Dark) -> float:
    """Return the noise level of the paper."""
    middle = float(np.median(dark))
    spread = float(np.median(np.abs(dark - middle))) * 1.48
    return max(middle + _NOISE_FACTOR * spread, _MIN_DARKNESS)


def _grey(values: npt.NDArray[np.generic]) -> Grey:
    return np.asarray(values, dtype=np.uint8)


# Ink that was not read ---------------------------------------------------------------


def ink_at_edges(grey: Grey) -> Grey:
    """Return the ink in header and footer as 255, without rules and scanner shadows."""
    height, width = grey.shape
    dark = _blurred(_darkness(grey), 1.5)
    ink = np.where(dark > _noise(dark), 255, 0).astype(np.uint8)
    border = round(width * _BORDER)
    ink[:, :border] = ink[:, -border:] = 0
    ink[:border], ink[-border:] = 0, 0
    ink[round(height * EDGES) : round(height * (1 - EDGES))] = 0
    return _without_rules(ink)


def unread_ink(ink: Grey, read: Iterable[Box]) -> Iterator[Pixels]:
    """Yield boxes in header and footer that resemble text but were not read."""
    height, width = ink.shape
    ink, margin = ink.copy(), _MARGIN * width
    for box in read:
        left, right = box.left * width - margin, box.right * width + margin
        top, bottom = box.top * height - margin / 2, box.bottom * height + margin / 2
        ink[max(0, int(top)) : int(bottom), max(0, int(left)) : int(right)] = 0
    joined = cv2.dilate(ink, np.ones(_JOIN[::-1], np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    for left, top, wide, high, _area in stats[1:count]:
        place = ink[top : top + high, left : left + wide]
        if _is_writing(place, width, height):
            yield int(left), int(top), int(left + wide), int(top + high)


def ink_around(
    ink: Grey,
    quad: Corners,
    others: Iterable[Corners],
    letters: tuple[float, float, float],
) -> tuple[float, float]:
    """Return the amount of ink before and after the letters of a line, in letter widths.

    About 0 when every letter was read; more when there is unread ink beside them, such
    as the remains of a worn-off "TOP" before a SECRET.
    """
    ink = ink.copy()
    for other in others:
        cv2.fillPoly(ink, [np.asarray(other, dtype=np.int32)], 0)
    strip, margin = _strip(ink, quad)
    columns = (_without_specks(strip) > 0).sum(axis=0) >= _COLUMN
    length = strip.shape[1] - 2 * margin
    first, last, pitch = (share * length for share in letters)
    if not pitch:
        return 0.0, 0.0
    reach = _REACH * max(pitch, float(strip.shape[0]) / 2)
    before = _connected_columns(
        columns[: max(0, round(margin + first - _HALF * pitch))][::-1], reach
    )
    after = _connected_columns(columns[round(margin + last + _HALF * pitch) :], reach)
    return round(before / pitch, 2), round(after / pitch, 2)


def _connected_columns(columns: npt.NDArray[np.bool_], reach: float) -> int:
    """Return the number of columns with ink up to the first wide gap."""
    places = np.flatnonzero(columns)
    if not len(places):
        return 0
    gaps = np.diff(places, prepend=0)
    wide = np.flatnonzero(gaps > reach)
    return int(wide[0]) if len(wide) else len(places)


def _strip(ink: Grey, quad: Corners) -> tuple[Grey, int]:
    """Return a line's ink, straightened, with margins at both ends, and their width."""
    along = quad[1] - quad[0]
    width = float(np.linalg.norm(along))
    height = float(np.linalg.norm(quad[3] - quad[0]))
    margin = round(_STRIP_MARGIN * height)
    step = along / max(width, 1.0) * margin
    wide = np.asarray(
        [quad[0] - step, quad[1] + step, quad[2] + step, quad[3] - step],
        dtype=np.float32,
    )
    size = (max(1, round(width)) + 2 * margin, max(1, round(height)))
    target = np.asarray(
        [[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], dtype=np.float32
    )
    turn = cv2.getPerspectiveTransform(wide, target)
    return _grey(cv2.warpPerspective(ink, turn, size, flags=cv2.INTER_NEAREST)), margin


def _without_specks(ink: Grey) -> Grey:
    """Return a line's ink without specks and without vertical strokes through it.

    Letters end before their line does; dirt on a drum and the sides of a box do not.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink)
    high = ink.shape[0]
    dirt = [
        at
        for at, (_, _, wide, tall, area) in enumerate(stats[:count])
        if at and (area < _SPECK or (tall >= _THROUGH * high and wide < _THIN * high))
    ]
    return _grey(np.where(np.isin(labels, dirt), 0, ink))


def _without_rules(ink: Grey) -> Grey:
    """Return the ink without long horizontal or vertical lines: rules, folds, streaks."""
    height, width = ink.shape
    for size in ((1, round(width * 0.06)), (round(height * 0.04), 1)):
        lines = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones(size, np.uint8))
        ink = np.where(cv2.dilate(lines, np.ones((5, 5), np.uint8)) > 0, 0, ink)
    return _grey(ink)


def _is_writing(place: Grey, width: int, height: int) -> bool:
    """Return whether ink might be letters, by size, density and number."""
    high, wide = place.shape
    if wide < _MIN_WIDTH * width or not (
        _MIN_HEIGHT * height <= high <= _MAX_HEIGHT * height
    ):
        return False
    if float((place > 0).mean()) < _MIN_INK:
        return False
    count, _, stats, _ = cv2.connectedComponentsWithStats(place)
    letters = sum(tall >= _MIN_HEIGHT * height for _, _, _, tall, _ in stats[1:count])
    return bool(letters >= _MIN_LETTERS)
