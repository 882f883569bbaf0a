"""Rendering options of a page: bounds, defaults and cache key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from PIL import ImageColor

from workflows.runtime.errors import Invalid, Unsupported

MIN_DPI, MAX_DPI, DPI = 72, 1200, 300
FORMATS = {"": "png", "png": "png", "jpg": "jpg", "jpeg": "jpg"}
MIME = {"png": "image/png", "jpg": "image/jpeg"}
BACKGROUND = "white"
MAX_BACKGROUND_LENGTH = 40  # characters of a colour's name

# name: minimum, maximum, neutral value
RANGES = {
    "quality": (1, 100, 85),  # of a JPEG
    "brightness": (0, 200, 100),  # per cent
    "contrast": (-100, 100, 0),
    "saturation": (0, 200, 100),  # per cent
    "rotation": (0, 360, 0),  # degrees, clockwise
}


class InvalidRenderOption(Invalid):
    """A rendering option is invalid."""

    code = "invalid_render_option"


def image_format(name: str) -> str:
    """Return png or jpg. Raises Unsupported for another format."""
    plain = name.strip().lower()
    if plain not in FORMATS:
        raise Unsupported(f"Pages are drawn as png or jpg, not as “{name}”.")
    return FORMATS[plain]


@dataclass(frozen=True, slots=True)
class PageStyle:
    """Rendering options of one page; omitted ones leave the page unchanged.

    Raises InvalidRenderOption or Unsupported, naming the option, when it is made.
    """

    format: str = "png"
    dpi: int = DPI  # 0: default
    quality: int | None = None  # 1..100, of a JPEG
    brightness: int | None = None  # 0..200 per cent
    contrast: int | None = None  # -100..100
    saturation: int | None = None  # 0..200 per cent; 0 is grey
    rotation: int | None = None  # 0..360 degrees, clockwise
    background: str = BACKGROUND  # any colour that CSS names

    def __post_init__(self) -> None:
        """Validate every option."""
        object.__setattr__(self, "format", image_format(self.format))
        object.__setattr__(self, "dpi", self.dpi or DPI)
        object.__setattr__(self, "background", self.background.strip() or BACKGROUND)
        _within("dpi", self.dpi, MIN_DPI, MAX_DPI)
        for name, (minimum, maximum, _) in RANGES.items():
            value = getattr(self, name)
            if value is not None:
                _within(name, value, minimum, maximum)
        colour_of(self.background)

    @property
    def mime(self) -> str:
        """Return the MIME type of the image."""
        return MIME[self.format]

    @property
    def key(self) -> str:
        """Return the canonical form of all options that affect the image."""
        parts = [f"format={self.format}", f"dpi={self.dpi}"]
        for name, (_, _, neutral) in RANGES.items():
            value = getattr(self, name)
            if name == "quality" and self.format == "png":
                continue
            if value is not None and value != neutral:
                parts.append(f"{name}={value}")
        red, green, blue = colour_of(self.background)
        if (red, green, blue) != (255, 255, 255):
            parts.append(f"background={red:02x}{green:02x}{blue:02x}")
        return ";".join(parts)

    def get(self, name: str) -> int:
        """Return an option of RANGES, or its neutral value."""
        value: int | None = getattr(self, name)
        return RANGES[name][2] if value is None else value


def _within(name: str, value: Any, minimum: int, maximum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRenderOption(f"{name} must be a whole number, not {value!r}.")
    if not minimum <= value <= maximum:
        raise InvalidRenderOption(
            f"{name} cannot be {value}: use {minimum} to {maximum}."
        )


def colour_of(name: str) -> tuple[int, int, int]:
    """Return the RGB values of a colour, 0..255. Raises InvalidRenderOption."""
    if len(name) <= MAX_BACKGROUND_LENGTH and not re.search(r"[^\w#(),.% -]", name):
        try:
            return ImageColor.getrgb(name)[:3]
        except ValueError:
            pass
    raise InvalidRenderOption(
        f"background cannot be “{name[:MAX_BACKGROUND_LENGTH]}”: use the name of a colour, "
        "or one such as #f4f1e8."
    )
