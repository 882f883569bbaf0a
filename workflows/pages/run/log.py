"""The log of a run: newest lines at a point in time, by minimum level and text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING

from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.infra.page_cache import page_cache
from workflows.models import Level, LogLine
from workflows.pages.redaction import is_redacted
from workflows.pages.render.times import clock
from workflows.pages.render.zones import current_zone
from workflows.pages.run.rows_at_step import PointInTime

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from workflows.models import Run
    from workflows.pages.run.view_options import RunView

MAX_LINES = 200  # newest lines on the run page


class RunLog:
    """The log section of a run page."""

    levels = Level.choices

    def __init__(self, run: Run, view: RunView, moment: PointInTime) -> None:
        self.run, self.view, self.moment = run, view, moment

    @cached_property
    def _newest(self) -> list[LogLine]:
        if self.is_redacted:
            return []
        rows = lines(self.run, self.view, self.moment)
        return list(rows.order_by("-attempt", "-number")[: MAX_LINES + 1])

    @property
    def lines(self) -> list[LogLine]:
        """The newest lines, oldest first."""
        return self._newest[:MAX_LINES][::-1]

    @property
    def is_cut(self) -> bool:
        """Whether there are earlier lines."""
        return len(self._newest) > MAX_LINES

    @property
    def is_redacted(self) -> bool:
        """Whether the viewer may not read the lines."""
        return is_redacted(self.run)

    @property
    def is_filtered(self) -> bool:
        """Whether a filter is set."""
        return bool(self.view.level or self.view.find)

    @cached_property
    def items(self) -> list[tuple[str, str]]:
        """The id and HTML of each line."""
        return [(f"line-{line.pk}", line_html(line)) for line in self.lines]


def lines(
    run: Run, view: RunView, moment: PointInTime | None = None
) -> QuerySet[LogLine]:
    """Return the lines that match a view, unordered."""
    rows = (moment or PointInTime()).rows(run.log_lines.all())
    if view.level:
        rows = rows.filter(level__gte=view.level)
    return rows.filter(message__icontains=view.find) if view.find else rows


def line_html(line: LogLine) -> SafeString:
    """Return a log line as HTML. Lines never change, so the result is cached."""
    shown = (line.pk, line.created_at, line.level, line.sequence, line.message)
    in_key = sys.getsizeof(line.message)
    return page_cache.get_or_make(
        ("log line", *shown, current_zone()),
        partial(_html, line),
        lambda html: sys.getsizeof(html) + in_key,
    )


def _html(line: LogLine) -> SafeString:
    level = line.level
    name = Level(level).label if level in Level.values else str(level)
    return format_html(
        '<li class="log-line" id="line-{}" data-level="{}">{}'
        ' <span class="log-level">{}</span> <span class="log-step"'
        ' title="Step {}">{}</span> <span class="log-message">{}</span></li>',
        line.pk,
        name.lower(),
        clock(line.created_at),
        name,
        line.sequence,
        line.sequence or "",
        line.message,
    )


def as_text(rows: QuerySet[LogLine], batch: int) -> Iterator[str]:
    """Yield all lines as text, a batch at a time: time, level, step, message."""
    last: tuple[int, int] | None = None
    while True:
        following = rows.order_by("attempt", "number")
        if last is not None:
            attempt, number = last
            later = following.filter(attempt=attempt, number__gt=number)
            following = later | following.filter(attempt__gt=attempt)
        page = list(following[:batch])
        if not page:
            return
        last = (page[-1].attempt, page[-1].number)
        yield "".join(map(_as_text, page))


def _as_text(line: LogLine) -> str:
    moment = line.created_at.isoformat(timespec="milliseconds")
    level = Level(line.level).name if line.level in Level.values else str(line.level)
    message = line.message.replace("\n", "\n    ")
    return f"{moment} {level:<7} step {line.sequence} {message}\n"
