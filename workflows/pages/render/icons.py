"""The icons as SVG, each 16 by 16 pixels, in the colour of the text.

A status is shown by shape and text, never by colour alone.
"""

from __future__ import annotations

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

STROKE: Final = (
    'fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"'
    ' stroke-linejoin="round"'
)
DISC: Final = '<circle cx="8" cy="8" r="7" fill="currentColor"/>'
CUT: Final = STROKE.replace("currentColor", "var(--cut, #fff)")  # cut out of a disc

BASE_SHAPES: Final[dict[str, str]] = {
    # status of runs, stages and approvals
    "pending": f'<circle cx="8" cy="8" r="6" stroke-dasharray="2.4 2.3" {STROKE}/>',
    "running": f'<circle cx="8" cy="8" r="6" {STROKE}/>'
    '<path d="M6.4 5.2v5.6L11 8z" fill="currentColor"/>',
    "waiting": f'{DISC}<path d="M6.2 5.3v5.4M9.8 5.3v5.4" {CUT}/>',
    "completed": f'{DISC}<path d="M4.9 8.3l2.1 2.1 4.2-4.6" {CUT}/>',
    "failed": '<path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z"'
    f' fill="currentColor"/><path d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" {CUT}/>',
    "cancelled": f'<circle cx="8" cy="8" r="6" {STROKE}/><path d="M4 12L12 4" {STROKE}/>',
    "interrupted": f'<path d="M8 1.8L14.6 13.6H1.4z" {STROKE}/>'
    f'<path d="M8 6.4v3.4M8 11.9v.1" {STROKE}/>',
    "": f'<circle cx="8" cy="8" r="3" {STROKE}/>',
    # kinds of steps
    "parallel": f'<path d="M3 3v10M8 3v10M13 3v10" {STROKE}/>',
    "branches": f'<path d="M8 1.5v3M3 12V7.5a3 3 0 0 1 3-3h4a3 3 0 0 1 3 3V12M8 4.5V12" {STROKE}/>'
    f'<path d="M1.5 14h13" {STROKE}/>',
    "chain": f'<path d="M8 1.5v3M8 11.5v3" {STROKE}/>'
    f'<rect x="3.5" y="4.5" width="9" height="7" rx="2" {STROKE}/>',
    "conditional": f'<path d="M8 2l6 6-6 6-6-6z" {STROKE}/>',
    "approval": f'<circle cx="8" cy="5.2" r="3" {STROKE}/>'
    f'<path d="M2.6 14c.6-3 2.7-4.4 5.4-4.4s4.8 1.4 5.4 4.4" {STROKE}/>',
    "ask": f'<circle cx="8" cy="8" r="6.2" {STROKE}/>'
    f'<path d="M6 6.2a2 2 0 1 1 2.8 1.9c-.5.2-.8.6-.8 1.1v.3M8 11.4v.1" {STROKE}/>',
    "wait": f'<circle cx="8" cy="8" r="6" {STROKE}/><path d="M8 4.6V8l2.4 1.6" {STROKE}/>',
    "subworkflow": f'<rect x="2" y="3" width="12" height="10" rx="1.5" {STROKE}/>'
    f'<path d="M5 3v10M11 3v10" {STROKE}/>',
    "subworkflows": f'<rect x="1.5" y="5" width="10" height="8" rx="1.5" {STROKE}/>'
    f'<path d="M4.5 2.5h8.3a1.5 1.5 0 0 1 1.5 1.5v6.5M4.5 5v8" {STROKE}/>',
    "launch": f'<rect x="2" y="3" width="8" height="10" rx="1.5" {STROKE}/>'
    f'<path d="M7 8h7M11.4 5.4L14 8l-2.6 2.6" {STROKE}/>',
    "continue": f'<path d="M3 8a5 5 0 1 1 1.5 3.6" {STROKE}/>'
    f'<path d="M2.6 14.2V11h3.2M8 5.2V8l2 1.4" {STROKE}/>',
    "event": f'<path d="M1.8 4h12.4v8.4H1.8z" {STROKE}/>'
    f'<path d="M2.2 4.4L8 9l5.8-4.6" {STROKE}/>',
    "callback": f'<path d="M13.6 3.4v4.2a2.4 2.4 0 0 1-2.4 2.4H3" {STROKE}/>'
    f'<path d="M6.4 6.4L2.8 10l3.6 3.6" {STROKE}/>',
    "first_of": f'<path d="M2 3l6 5M2 13l6-5M8 8h6" {STROKE}/>'
    f'<path d="M11.4 5.4L14 8l-2.6 2.6" {STROKE}/>',
    # actions and objects
    "taken": f'<path d="M2.5 8h10M9 4.2L12.8 8 9 11.8" {STROKE}/>',
    "rejected": f'<path d="M4.6 4.6l6.8 6.8M11.4 4.6l-6.8 6.8" {STROKE}/>',
    "document": f'<path d="M3.5 1.8h6l3 3v9.4h-9z" {STROKE}/>'
    f'<path d="M9.2 2v3.2h3.2" {STROKE}/>',
    "loop": f'<path d="M3.2 6.4A5.2 5.2 0 0 1 12.6 5M12.8 9.6A5.2 5.2 0 0 1 3.4 11" {STROKE}/>'
    f'<path d="M12.9 2.2V5.2H9.9M3.1 13.8V10.8H6.1" {STROKE}/>',
    "first": f'<path d="M12 3.5L6.5 8 12 12.5M4 3.5v9" {STROKE}/>',
    "previous": f'<path d="M10 3.5L5 8l5 4.5" {STROKE}/>',
    "next": f'<path d="M6 3.5L11 8l-5 4.5" {STROKE}/>',
    "last": f'<path d="M4 3.5L9.5 8 4 12.5M12 3.5v9" {STROKE}/>',
    "play": '<path d="M4 2.4v11.2L13.4 8z" fill="currentColor"/>',
    "lock": f'<rect x="3" y="7" width="10" height="7" rx="1.5" {STROKE}/>'
    f'<path d="M5 7V5a3 3 0 0 1 6 0v2" {STROKE}/>',
    "search": f'<circle cx="7" cy="7" r="4.6" {STROKE}/><path d="M10.6 10.6L14 14" {STROKE}/>',
    # which of two compared runs
    "only-a": f'<path d="M3.8 13L8 3l4.2 10M5.4 9.4h5.2" {STROKE}/>',
    "only-b": f'<path d="M4.6 3v10h4a2.6 2.6 0 0 0 0-5.2h-4 3.4a2.4 2.4 0 0 0 0-4.8z" {STROKE}/>',
    "both": f'<circle cx="6" cy="8" r="4.2" {STROKE}/><circle cx="10" cy="8" r="4.2" {STROKE}/>',
    "plus": f'<path d="M8 3v10M3 8h10" {STROKE}/>',
    "open": f'<path d="M5.8 6a2.3 2.3 0 1 1 3.2 2.1c-.7.3-1 .8-1 1.5" {STROKE}/>'
    f'<path d="M8 12.2v.1" {STROKE}/>',
}
SHAPES: Final[dict[str, str]] = BASE_SHAPES | {
    "started": BASE_SHAPES["running"],
    "answered": BASE_SHAPES["completed"],
    "expired": BASE_SHAPES["wait"],
    "withdrawn": BASE_SHAPES["cancelled"],
    "released": BASE_SHAPES["interrupted"],
    "lost": BASE_SHAPES["interrupted"],
}


def icon(name: str, *, x: float | None = None, y: float | None = None) -> SafeString:
    """Return an icon as SVG; x and y position it inside another SVG."""
    shape = mark_safe(SHAPES.get(name, SHAPES[""]))  # noqa: S308 - constant
    place = format_html(' x="{}" y="{}"', x, y) if x is not None else ""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16"'
        ' aria-hidden="true"{}>{}</svg>',
        place,
        shape,
    )
