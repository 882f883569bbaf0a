"""How often each edge was taken, of all times its node was left: on the whole, over time.

Read from the tallies. An edge's share is of the edges that were taken out of the same
node; edges that were only evaluated count in no share.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import F, Min, Sum
from django.db.models.functions import TruncDay
from django.utils import timezone

from workflows.access import permissions
from workflows.models import EdgeTally
from workflows.pages.lists.edges import EdgeRef
from workflows.pages.render.charts import Bar, Bars, stacked
from workflows.pages.render.text import in_words, percent
from workflows.pages.render.zones import zone_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.pages.lists.period import Period

DAYS = 30  # when no period is chosen
MAX_BARS = 92
SHORT = dt.timedelta(days=3)  # such periods are told by the hour
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Share:
    """One edge out of a node."""

    way: EdgeRef
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


@dataclass(slots=True)
class _Sum:
    """What was counted of one edge: on the whole, and taken within each slot."""

    over_time: list[int]
    rejected: int = 0
    by_people: int = 0

    @property
    def taken(self) -> int:
        return sum(self.over_time)


def shares_of(
    person: User, workflow: str, period: Period, zone: str = ""
) -> list[Leaving]:
    """Return what was taken out of each node of a workflow within a period.

    Bars are hours or days of the period's zone, else of the reader's.
    """
    there = zone_named(period.zone or zone)
    slots = _slots(period, there)
    rows = permissions.visible(person, EdgeTally.objects.order_by())
    rows = rows.filter(workflow_name=workflow, hour__gte=slots[0], hour__lt=slots[-1])
    sums: dict[str, dict[EdgeRef, _Sum]] = defaultdict(dict)
    for row in _by_slot(rows, None if _is_hourly(slots) else there):
        source = row["from_node"]
        way = EdgeRef(workflow, source, row["to_node"], row["predicate_name"])
        edge = sums[source].setdefault(way, _Sum([0] * (len(slots) - 1)))
        edge.over_time[_place(slots, row["slot"])] += row["t"]
        edge.rejected += row["r"]
        edge.by_people += row["p"]
    return [_leaving(source, edges, slots, there) for source, edges in sums.items()]


def _by_slot(
    rows: QuerySet[EdgeTally], days_of: dt.tzinfo | None
) -> Iterable[Mapping[str, Any]]:
    """Return sums by the day of a zone, else by hour; edges in the order they are tried."""
    slot = TruncDay("hour", tzinfo=days_of) if days_of else F("hour")
    slots = rows.annotate(slot=slot)
    edges = slots.values("slot", "from_node", "to_node", "predicate_name")
    counted = edges.annotate(
        t=Sum("taken"), r=Sum("rejected"), p=Sum("by_people"), order=Min("edge_index")
    )
    return counted.order_by("from_node", "order", "to_node", "predicate_name")


def _leaving(
    source: str,
    edges: Mapping[EdgeRef, _Sum],
    slots: Sequence[dt.datetime],
    zone: dt.tzinfo,
) -> Leaving:
    total = sum(edge.taken for edge in edges.values())
    shares = [
        Share(
            way,
            place,
            edge.taken,
            edge.rejected,
            edge.by_people,
            edge.taken / total if total else 0.0,
        )
        for place, (way, edge) in enumerate(edges.items())
    ]
    columns = [edge.over_time for edge in edges.values()]
    form = "%d %b, %H:%M" if _is_hourly(slots) else "%d %b"
    names = [f"{slot.astimezone(zone):{form}}" for slot in slots[:-1]]
    bars = [_bar(name, place, shares, columns) for place, name in enumerate(names)]
    return Leaving(source, shares, stacked(bars, whole=1.0))


def _bar(
    name: str, place: int, shares: Sequence[Share], columns: Sequence[Sequence[int]]
) -> Bar:
    counts = [column[place] for column in columns]
    total = sum(counts)
    told = [
        f"{in_words(share.way.target)} {percent(count / total)} ({count})"
        for share, count in zip(shares, counts, strict=True)
        if count
    ]
    said = f"{name}: {', '.join(told) or 'never left'}"
    return Bar(said, tuple(count / total if total else 0.0 for count in counts))


def _slots(period: Period, zone: dt.tzinfo) -> list[dt.datetime]:
    """Return where the bars of a period begin, and where the last one ends.

    Days are a zone's, with 23 hours or 25 now and then; hours are counted in UTC.
    """
    now = timezone.localtime(timezone=zone)
    until = period.until or now
    since = (period.since or until - DAYS * DAY).astimezone(zone)
    until = min(until, now).astimezone(zone)
    if until - since <= SHORT:
        hour = since.replace(minute=0, second=0, microsecond=0)
        start, step = hour.astimezone(dt.UTC), HOUR
    else:
        start, step = since.replace(hour=0, minute=0, second=0, microsecond=0), DAY
    count = max(int((until - start) / step) + 1, 1)
    while count > MAX_BARS:
        step, count = step * 2, (count + 1) // 2
    return [start + step * place for place in range(count + 1)]


def _is_hourly(slots: Sequence[dt.datetime]) -> bool:
    return slots[1] - slots[0] <= HOUR


def _place(slots: Sequence[dt.datetime], moment: dt.datetime) -> int:
    step = slots[1] - slots[0]
    return min(max(int((moment - slots[0]) / step), 0), len(slots) - 2)
