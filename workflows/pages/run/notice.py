"""A notice at the top of a run page."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class AwaitedPart:
    """One of several things of which the first one continues a run."""

    icon: str  # of the kind of its node
    title: str
    text: str  # who or what can end it
    command: str = ""  # shell command that does
    until_lead: str = ""
    until: dt.datetime | None = None


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
    parts: tuple[AwaitedPart, ...] = ()  # of which the first one continues the run
