"""A notice at the top of a run page."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: tone, title, text and an optional link or shell command."""

    tone: str  # busy, warn, bad, quiet: a colour and a shape
    title: str
    text: str = ""
    href: str = ""
    link: str = ""
    lead: str = ""  # precedes the time: "Requested", "Retrying"
    at: dt.datetime | None = None
    command: str = ""  # shell command
    again: float | None = None  # seconds after which it can change without a message
    until_lead: str = ""  # precedes the deadline, after the text: "Due"
    until: dt.datetime | None = None
    runs: tuple[Run, ...] = ()  # links to what the run waits for
