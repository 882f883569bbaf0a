"""Draws capital letters as handwriting: strokes with random jitter."""

from __future__ import annotations

import itertools
import math
import random

from PIL import Image, ImageDraw

# Strokes between points of a grid: x 0..4 from the left, y 0..6 from the top.
STROKES = {
    "A": ("06 20 46", "13 33"),
    "B": ("00 06", "00 30 41 32 03", "03 33 44 35 06"),
    "C": ("41 30 10 01 05 16 36 45",),
    "D": ("00 06", "00 20 42 44 26 06"),
    "E": ("40 00 06 46", "03 33"),
    "F": ("40 00 06", "03 33"),
    "G": ("41 30 10 01 05 16 36 45 43 23",),
    "H": ("00 06", "40 46", "03 43"),
    "I": ("10 30", "20 26", "16 36"),
    "K": ("00 06", "40 03 46"),
    "L": ("00 06 46",),
    "M": ("06 00 23 40 46",),
    "N": ("06 00 46 40",),
    "O": ("10 30 41 45 36 16 05 01 10",),
    "P": ("06 00 30 41 42 33 03",),
    "R": ("06 00 30 41 42 33 03", "23 46"),
    "S": ("41 30 10 01 02 13 33 44 45 36 16 05",),
    "T": ("00 40", "20 26"),
    "U": ("00 05 16 36 45 40",),
    "V": ("00 26 40",),
    "X": ("00 46", "40 06"),
    "Y": ("00 23 40", "23 26"),
    "/": ("06 40",),
    " ": (),
}


def written_by_hand(text: str, height: int, chance: random.Random) -> Image.Image:
    """Return a line of capitals, `height` pixels high; ink is 255."""
    step, slant = height * 0.72, chance.uniform(0.05, 0.25)
    size = (round(step * (len(text) + 2)), height * 2)
    ink = Image.new("L", size)
    draw = ImageDraw.Draw(ink)
    pen = max(3, round(height * chance.uniform(0.06, 0.1)))
    for index, letter in enumerate(text):
        lift, grow = chance.uniform(-0.06, 0.06), chance.uniform(0.9, 1.08)
        for stroke in STROKES[letter]:
            points = []
            for point in stroke.split():
                x, y = int(point[0]) / 4, int(point[1]) / 6
                x += chance.uniform(-0.045, 0.045)
                y += chance.uniform(-0.035, 0.035) + lift
                left = step * (index + 0.6) + height * (
                    0.5 * x * grow + slant * (1 - y)
                )
                points.append((left, height * (0.5 + y * grow)))
            _curve(draw, points, pen)
    return ink


def _curve(
    draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], pen: int
) -> None:
    """Draw a stroke with rounded corners."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = max(2, round(math.dist((x0, y0), (x1, y1)) / 3))
        for step in range(steps + 1):
            x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
