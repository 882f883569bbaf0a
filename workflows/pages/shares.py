"""How often each edge was taken, of all times its node was left: on the whole, over time.

Read from the tallies. An edge's share is of the edges that were taken out of the same
node; edges that were only evaluated count in no share.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Sum
from django.utils import timezone

from workflows.models import EdgeTally
from workflows.pages import access
from workflows.pages.charts import Bar, Bars, stacked
from workflows.pages.edges import Way
from workflows.pages.words import in_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import User

    from workflows.pages.period import Period

DAYS = 30  # when no period is chosen
MOST_BARS = 92
SHORT = dt.timedelta(days=3)  # such periods are told by the hour
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Share:
    """One edge out of a node."""

    way: Way
    place: int  # among the node's edges: its colour
    taken: int
    rejected: int
    by_people: int
    share: float  # 0..1 of all that were taken out of the node

    @property
    def percent(self) -> str:
        """Return the share for people."""
        return percent(self.share)


@dataclass(frozen=True, slots=True)
class Leaving:
    """The edges out of one node, and how their shares went over time."""

    source: str
    shares: Sequence[Share]
    bars: Bars

    @property
    def total(self) -> int:
        """Return how often the node was left."""
        return sum(share.taken for share in self.shares)

    @property
    def is_choice(self) -> bool:
        """Tell whether there was more than one way."""
        return len(self.shares) > 1


def shares_of(person: User, workflow: str, period: Period) -> list[Leaving]:
    """Return what was taken out of each node of a workflow within a period."""
    slots = _slots(period)
    rows = access.those_seen(person, EdgeTally.objects.order_by())
    rows = rows.filter(workflow_name=workflow, hour__gte=slots[0], hour__lt=slots[-1])
    edges = rows.values("from_node", "to_node", "edge_index", "predicate_name")
    totals = edges.annotate(
        t=Sum("taken"), r=Sum("rejected"), p=Sum("by_people")
    ).order_by("from_node", "edge_index", "to_node", "predicate_name")
    by_hour = rows.values("hour", "from_node", "to_node", "predicate_name")
    over_time = by_hour.annotate(t=Sum("taken")).filter(t__gt=0)
    counts: dict[tuple[str, Way], list[int]] = defaultdict(
        lambda: [0] * (len(slots) - 1)
    )
    for row in over_time:
        way = Way(workflow, row["from_node"], row["to_node"], row["predicate_name"])
        counts[row["from_node"], way][_place(slots, row["hour"])] += row["t"]
    leaving: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for edge in totals:
        leaving[edge["from_node"]].append(edge)
    return [
        _leaving(workflow, source, rows_, counts, slots)
        for source, rows_ in leaving.items()
    ]


def _leaving(
    workflow: str,
    source: str,
    rows: Iterable[Mapping[str, object]],
    counts: Mapping[tuple[str, Way], list[int]],
    slots: Sequence[dt.datetime],
) -> Leaving:
    merged: dict[Way, list[int]] = {}
    for row in rows:  # edges renumbered by a new version are the same edges
        way = Way(workflow, source, str(row["to_node"]), str(row["predicate_name"]))
        sums = merged.setdefault(way, [0, 0, 0])
        for place, name in enumerate("trp"):
            sums[place] += int(str(row[name]))
    total = sum(taken for taken, _, _ in merged.values())
    shares = [
        Share(way, place, taken, rejected, people, taken / total if total else 0.0)
        for place, (way, (taken, rejected, people)) in enumerate(merged.items())
    ]
    empty = [0] * (len(slots) - 1)
    columns = [counts.get((source, share.way), empty) for share in shares]
    bars = [_bar(slots, place, shares, columns) for place in range(len(empty))]
    return Leaving(source, shares, stacked(bars, whole=1.0))


def _bar(
    slots: Sequence[dt.datetime],
    place: int,
    shares: Sequence[Share],
    columns: Sequence[Sequence[int]],
) -> Bar:
    counts = [column[place] for column in columns]
    total = sum(counts)
    hourly = slots[place + 1] - slots[place] <= HOUR
    name = f"{timezone.localtime(slots[place]):{'%d %b, %H:%M' if hourly else '%d %b'}}"
    told = [
        f"{in_words(share.way.target)} {percent(count / total)} ({count})"
        for share, count in zip(shares, counts, strict=True)
        if count
    ]
    said = f"{name}: {', '.join(told) or 'never left'}"
    return Bar(said, tuple(count / total if total else 0.0 for count in counts))


def _slots(period: Period) -> list[dt.datetime]:
    """Return where the bars of a period begin, and where the last one ends."""
    now = timezone.localtime()
    until = period.until or now
    since = period.since or until - DAYS * DAY
    since, until = timezone.localtime(since), timezone.localtime(min(until, now))
    if until - since <= SHORT:
        start, step = since.replace(minute=0, second=0, microsecond=0), HOUR
    else:
        start, step = since.replace(hour=0, minute=0, second=0, microsecond=0), DAY
    count = max(int((until - start) / step) + 1, 1)
    while count > MOST_BARS:
        step, count = step * 2, (count + 1) // 2
    return [start + step * place for place in range(count + 1)]


def _place(slots: Sequence[dt.datetime], moment: dt.datetime) -> int:
    step = slots[1] - slots[0]
    return min(max(int((moment - slots[0]) / step), 0), len(slots) - 2)
