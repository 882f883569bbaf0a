"""Options of a rendering: pages, style, and whether to render again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from workflows.runtime.page_style import BACKGROUND, DPI, PageStyle

SCREEN_DPI = 110  # of a page on a screen


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Pages to render and their style; omitted options leave a page unchanged.

    Raises InvalidRenderOption or Unsupported, naming the option, when it is made.
    """

    pages: str = ""  # "": all
    format: str = "png"  # or jpg
    dpi: int = DPI  # 72..1200
    quality: int | None = None  # 1..100, of a JPEG
    brightness: int | None = None  # 0..200 per cent
    contrast: int | None = None  # -100..100
    saturation: int | None = None  # 0..200 per cent
    rotation: int | None = None  # 0..360 degrees, clockwise
    background: str = BACKGROUND
    force: bool = False  # replace a stored image

    def __post_init__(self) -> None:
        """Validate every option; pages are validated against the document later."""
        style = self.style
        for name in ("format", "dpi", "background"):
            object.__setattr__(self, name, getattr(style, name))

    @property
    def style(self) -> PageStyle:
        """Return the style of each page."""
        return PageStyle(**{f.name: getattr(self, f.name) for f in fields(PageStyle)})

    def to_dict(self) -> dict[str, Any]:
        """Return the given options as plain values."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


SCREEN = RenderOptions(dpi=SCREEN_DPI)
