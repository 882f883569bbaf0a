"""Shares of the outgoing edges of a node, in total and over time, from the tallies.

The share of an edge is the number of times it was taken, divided by that of all outgoing
edges of its node. Rejected edges count in no share.
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
from workflows.pages.render.text import percent, readable_name
from workflows.pages.render.zones import zone_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.pages.lists.period import Period

DAYS = 30  # when no period is chosen
MAX_BARS = 92
MIN_EVALUATIONS = 30  # in each of two periods whose shares are compared
MAX_DEVIATIONS = (
    3.0  # standard deviations of a difference of shares that chance explains
)
MAX_HOURLY = dt.timedelta(days=3)  # longer periods have daily bars
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Share:
    """An outgoing edge of a node with its counts."""

    edge: EdgeRef
    place: int  # index among the node's edges, which selects its colour
    taken: int
    rejected: int
    by_people: int
    share: float  # 0..1 of the edges taken
    before: float | None = (
        None  # share in the period before; None without evaluations then
    )
    has_moved: bool = False  # by more than chance explains

    @property
    def percent(self) -> str:
        """Return the share for display."""
        return percent(self.share)

    @property
    def percent_before(self) -> str:
        """Return the share in the period before for display, "" if there is none."""
        return "" if self.before is None else percent(self.before)


@dataclass(frozen=True, slots=True)
class NodeShares:
    """The outgoing edges of a node, and their shares over time."""

    source: str
    shares: Sequence[Share]
    bars: Bars

    @property
    def total(self) -> int:
        """Return how many times an edge was taken."""
        return sum(share.taken for share in self.shares)

    @property
    def is_choice(self) -> bool:
        """Return whether the node has more than one outgoing edge."""
        return len(self.shares) > 1


@dataclass(slots=True)
class _Sum:
    """Counts of one edge; `over_time` has how often it was taken per slot."""

    over_time: list[int]
    rejected: int = 0
    by_people: int = 0

    @property
    def taken(self) -> int:
        return sum(self.over_time)


def shares_of(
    person: User, workflow: str, period: Period, zone: str = ""
) -> list[NodeShares]:
    """Return the shares of each node of a workflow within a period.

    Bars are hours or days of the period's time zone, else of `zone`.
    """
    tzinfo = zone_named(period.zone or zone)
    slots = _slots(period, tzinfo)
    rows = permissions.visible(person, EdgeTally.objects.order_by())
    rows = rows.filter(workflow_name=workflow, hour__gte=slots[0], hour__lt=slots[-1])
    sums: dict[str, dict[EdgeRef, _Sum]] = defaultdict(dict)
    for row in _by_slot(rows, None if _is_hourly(slots) else tzinfo):
        source = row["from_node"]
        edge = EdgeRef(workflow, source, row["to_node"], row["predicate_name"])
        counts = sums[source].setdefault(edge, _Sum([0] * (len(slots) - 1)))
        counts.over_time[_slot_index(slots, row["slot"])] += row["t"]
        counts.rejected += row["r"]
        counts.by_people += row["p"]
    earlier = _taken_before(person, workflow, slots[0], slots[-1])
    return [
        _node_shares(source, edges, slots, tzinfo, earlier)
        for source, edges in sums.items()
    ]


def _taken_before(
    person: User, workflow: str, since: dt.datetime, until: dt.datetime
) -> Mapping[EdgeRef, int]:
    """Return how often each edge was taken in the period of the same length before."""
    rows = permissions.visible(person, EdgeTally.objects.order_by())
    start = since - (until - since)
    rows = rows.filter(workflow_name=workflow, hour__gte=start, hour__lt=since)
    edges = rows.values_list("from_node", "to_node", "predicate_name")
    return {
        EdgeRef(workflow, source, target, predicate): taken
        for source, target, predicate, taken in edges.annotate(t=Sum("taken"))
    }


def has_moved(taken: int, total: int, taken_before: int, total_before: int) -> bool:
    """Return whether two shares differ by more than MAX_DEVIATIONS of chance.

    The test of two proportions with a pooled variance, for enough evaluations in both periods.
    """
    if min(total, total_before) < MIN_EVALUATIONS:
        return False
    pooled = (taken + taken_before) / (total + total_before)
    variance = pooled * (1 - pooled) * (1 / total + 1 / total_before)
    difference = taken / total - taken_before / total_before
    return difference**2 > MAX_DEVIATIONS**2 * variance


def _by_slot(
    rows: QuerySet[EdgeTally], days_of: dt.tzinfo | None
) -> Iterable[Mapping[str, Any]]:
    """Return sums by day of a time zone, else by hour; edges in evaluation order."""
    slot = TruncDay("hour", tzinfo=days_of) if days_of else F("hour")
    slots = rows.annotate(slot=slot)
    edges = slots.values("slot", "from_node", "to_node", "predicate_name")
    counted = edges.annotate(
        t=Sum("taken"), r=Sum("rejected"), p=Sum("by_people"), order=Min("edge_index")
    )
    return counted.order_by("from_node", "order", "to_node", "predicate_name")


def _node_shares(
    source: str,
    edges: Mapping[EdgeRef, _Sum],
    slots: Sequence[dt.datetime],
    zone: dt.tzinfo,
    earlier: Mapping[EdgeRef, int],
) -> NodeShares:
    total = sum(counts.taken for counts in edges.values())
    total_before = sum(n for edge, n in earlier.items() if edge.source == source)
    shares = [
        Share(
            edge,
            index,
            counts.taken,
            counts.rejected,
            counts.by_people,
            counts.taken / total if total else 0.0,
            earlier.get(edge, 0) / total_before if total_before else None,
            has_moved(counts.taken, total, earlier.get(edge, 0), total_before),
        )
        for index, (edge, counts) in enumerate(edges.items())
    ]
    columns = [counts.over_time for counts in edges.values()]
    form = "%d %b, %H:%M" if _is_hourly(slots) else "%d %b"
    names = [f"{slot.astimezone(zone):{form}}" for slot in slots[:-1]]
    bars = [_bar(name, index, shares, columns) for index, name in enumerate(names)]
    return NodeShares(source, shares, stacked(bars, whole=1.0))


def _bar(
    name: str, index: int, shares: Sequence[Share], columns: Sequence[Sequence[int]]
) -> Bar:
    counts = [column[index] for column in columns]
    total = sum(counts)
    parts = [
        f"{readable_name(share.edge.target)} {percent(count / total)} ({count})"
        for share, count in zip(shares, counts, strict=True)
        if count
    ]
    text = f"{name}: {', '.join(parts) or 'no decisions'}"
    return Bar(text, tuple(count / total if total else 0.0 for count in counts))


def _slots(period: Period, zone: dt.tzinfo) -> list[dt.datetime]:
    """Return the start of each bar of a period, and the end of the last one.

    Days are those of the zone, so that some have 23 or 25 hours; hours are UTC.
    """
    now = timezone.localtime(timezone=zone)
    until = period.until or now
    since = (period.since or until - DAYS * DAY).astimezone(zone)
    until = min(until, now).astimezone(zone)
    if until - since <= MAX_HOURLY:
        hour = since.replace(minute=0, second=0, microsecond=0)
        start, step = hour.astimezone(dt.UTC), HOUR
    else:
        start, step = since.replace(hour=0, minute=0, second=0, microsecond=0), DAY
    count = max(int((until - start) / step) + 1, 1)
    while count > MAX_BARS:
        step, count = step * 2, (count + 1) // 2
    return [start + step * index for index in range(count + 1)]


def _is_hourly(slots: Sequence[dt.datetime]) -> bool:
    return slots[1] - slots[0] <= HOUR


def _slot_index(slots: Sequence[dt.datetime], time: dt.datetime) -> int:
    step = slots[1] - slots[0]
    return min(max(int((time - slots[0]) / step), 0), len(slots) - 2)
