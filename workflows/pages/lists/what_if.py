"""What-if reports as pages show them: parts of bounded time, with the counts of all parts so far.

A part ends after PART_SECONDS, or with MAX_SHOWN_RUNS listed runs. Its last run and the counts are
in the address of the next part, signed, so that nothing is stored.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.core import signing

from workflows.pages.lists.period import Period
from workflows.pages.query_string import MAX_TEXT_LENGTH, clean_text
from workflows.pages.render.text import percent
from workflows.pages.streaming import Slots
from workflows.pages.visible_rows import visible_runs
from workflows.services.what_if import Finding, Limits, Skipped
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.contrib.auth.models import User

    from workflows.engine.thresholds import Threshold
    from workflows.models import Run
    from workflows.services.what_if import Edge, Report, WhatIf

PART_SECONDS: Final = 1.5
MAX_SHOWN_RUNS: Final = 200  # per part
PART: Final = Limits(seconds=PART_SECONDS, decisions=5_000)
SALT: Final = "what-if"
SET: Final = "set-"  # before the name of a threshold in a query
DEFAULT_SPAN: Final = "30d"
evaluations = Slots(settings.MAX_EXPORTS, "what-if reports")  # of this process


@dataclass(frozen=True, slots=True)
class Setting:
    """A threshold with what the form has for it."""

    threshold: Threshold
    text: str
    error: str = ""

    @property
    def field(self) -> str:
        """Return its name in a query."""
        return f"{SET}{self.threshold.name}"

    @property
    def today(self) -> str:
        """Return today's value as text; "" for a param, of which each run has its own."""
        one = self.threshold
        return "" if one.is_param or one.value is None else str(one.value)

    @property
    def help(self) -> str:
        """Return what the threshold is part of, with a param's default."""
        one = self.threshold
        if not one.is_param:
            return f"{one.what}, today {one.value}"
        default = "" if one.value is None else f", default {one.value}"
        return f"param{default}; empty: as recorded"

    @property
    def is_changed(self) -> bool:
        """Return whether it replaces today's value."""
        return self.text not in {"", self.today}


@dataclass(frozen=True, slots=True)
class Query:
    """What a report evaluates: a period, settings, and the edge whose runs are listed."""

    workflow: str
    period: Period
    settings: Sequence[Setting]
    edge: tuple[str, ...] = ()  # node, recorded target, today's target
    is_sent: bool = False

    @classmethod
    def read(
        cls, workflow: str, thresholds: Sequence[Threshold], query: Mapping[str, str]
    ) -> Self:
        """Read a query, ignoring invalid parts except for the settings."""
        period = Period.read(query)
        is_sent = "evaluate" in query
        edge = tuple(clean_text(query.get("edge", "")).split("→"))
        return cls(
            workflow,
            period if period.is_any or is_sent else Period(span=DEFAULT_SPAN),
            [_setting(one, query) for one in thresholds],
            edge if len(edge) == 3 else (),  # noqa: PLR2004 - node and two targets
            is_sent,
        )

    @property
    def changed(self) -> dict[str, str]:
        """Return the settings that differ from today's values."""
        return {one.threshold.name: one.text for one in self.settings if one.is_changed}

    @property
    def fields(self) -> dict[str, str]:
        """Return the query without the edge."""
        texts = {one.field: one.text for one in self.settings if one.is_changed}
        return {"evaluate": "1", **self.period.query, **texts}

    @property
    def with_edge(self) -> dict[str, str]:
        """Return the query."""
        return {**self.fields, **({"edge": "→".join(self.edge)} if self.edge else {})}

    def lists(self, finding: Finding) -> bool:
        """Return whether the run of a finding is listed."""
        edge = finding.node, finding.recorded, finding.today
        return not self.edge or edge == self.edge


def _setting(one: Threshold, query: Mapping[str, str]) -> Setting:
    setting = Setting(one, "")
    text = query.get(setting.field)
    if text is None:
        return Setting(one, setting.today)
    return Setting(one, clean_text(text, MAX_TEXT_LENGTH))


@dataclass(slots=True)
class Totals:
    """The counts of the parts so far."""

    runs: int = 0
    decisions: int = 0
    elsewhere: Counter[Edge] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    older_than: UUID | None = None

    def add(self, report: Report) -> None:
        """Add a part."""
        self.runs += report.runs
        self.decisions += report.decisions
        self.elsewhere += report.elsewhere
        self.failed += report.failed
        self.skipped += Counter({why.name: n for why, n in report.skipped.items()})

    def signed(self, query: Query) -> str:
        """Return the totals as a text for the address of the next part of a query."""
        values = [
            query.with_edge,
            str(self.older_than),
            self.runs,
            self.decisions,
            [[*edge, number] for edge, number in self.elsewhere.items()],
            dict(self.failed),
            dict(self.skipped),
        ]
        return signing.dumps(values, salt=SALT, compress=True)

    @classmethod
    def read(cls, text: str, query: Query) -> Totals:
        """Return the totals in a signed text; empty ones unless they are of the query."""
        try:
            of, older, runs, decisions, edges, failed, skipped = signing.loads(
                text, salt=SALT
            )
        except signing.BadSignature:
            return cls()
        if of != query.with_edge:
            return cls()
        elsewhere = Counter({(a, b, c): number for a, b, c, number in edges})
        return cls(
            runs, decisions, elsewhere, Counter(failed), Counter(skipped), UUID(older)
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding with its run."""

    finding: Finding
    run: Run


def evaluated(query: Query, part: str, person: User) -> dict[str, Any]:
    """Evaluate the next part of a report; return the template context of all parts so far.

    Raises NotAllowed, InvalidParams, TooManyDownloads.
    """
    totals = Totals.read(part, query)
    is_first = totals.older_than is None
    report = system.what_if(
        query.workflow,
        query.changed,
        by=person,
        since=query.period.since,
        until=query.period.until,
        older_than=totals.older_than,
        limits=PART,
    )
    listed, totals.older_than = next_part(report, query.lists, MAX_SHOWN_RUNS)
    totals.add(report.report)
    number = totals.elsewhere.total()
    skipped = Counter({Skipped[n]: count for n, count in totals.skipped.items()})
    more = totals.signed(query) if totals.older_than else ""
    return {
        "totals": totals,
        "elsewhere": number,
        "edges": [
            _edge(edge, n, query, totals) for edge, n in totals.elsewhere.most_common()
        ],
        "failed": totals.failed.most_common(),
        "skipped": skipped.most_common(),
        "shown": _with_runs(listed, person),
        "is_first": is_first,
        "all_runs": f"?{urlencode(query.fields)}",
        "more": f"?{urlencode({**query.with_edge, 'part': more})}" if more else "",
    }


def next_part(
    report: WhatIf, lists: Callable[[Finding], bool], limit: int
) -> tuple[list[Finding], UUID | None]:
    """Evaluate a part; return the findings to list, and the run before which the next begins.

    It ends early with so many listed findings. Raises TooManyDownloads.
    """
    listed: list[Finding] = []
    evaluations.acquire()
    try:
        for finding in report.findings():
            if lists(finding):
                listed.append(finding)
            if len(listed) >= limit:
                return listed, finding.run_id
    finally:
        evaluations.release()
    return listed, report.report.older_than


def _edge(edge: Edge, number: int, query: Query, totals: Totals) -> dict[str, Any]:
    node, recorded, today = edge
    return {
        "node": node,
        "recorded": recorded,
        "today": today,
        "runs": number,
        "share": percent(number / totals.runs),
        "is_chosen": edge == query.edge,
        "address": f"?{urlencode({**query.fields, 'edge': '→'.join(edge)})}",
    }


def _with_runs(findings: Sequence[Finding], person: User) -> list[Shown]:
    ids = [one.run_id for one in findings]
    runs = visible_runs(person).defer("params", "result", "graph").in_bulk(ids)
    return [Shown(one, runs[one.run_id]) for one in findings if one.run_id in runs]
