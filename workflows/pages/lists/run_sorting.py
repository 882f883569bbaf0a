"""Order and number of the runs in a list, both at a bounded cost.

The default order, newest first, is that of an index and has pages by key. Any other order
is that of the newest SCAN_LIMIT runs that the indexed filters select (the oldest for
“launched, oldest first”); its pages have a number of rows to skip. A number of runs is
counted up to COUNT_LIMIT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import F, Value
from django.db.models.functions import Lower, NullIf

from workflows.pages.lists.columns import BUILT_IN
from workflows.pages.lists.pagination import (
    PAGE_SIZE,
    PROBE_LIMIT,
    SCAN_LIMIT,
    Page,
    keyset_page,
)
from workflows.pages.query_string import int_in, uuid_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import OrderBy, Q, QuerySet

    from workflows.models import Run
    from workflows.pages.lists.columns import Columns

COUNT_LIMIT: Final = 1_000  # runs
SPENT: Final[Any] = F("completed_at") - F("started_at")
SORTED_BY: Final[Mapping[str, Any]] = {
    "status": F("status"),
    "run": NullIf(Lower("title"), Value("")),
    "workflow": F("workflow_name"),
    "launched": F("pk"),
    "by": F("launched_by__username"),
    "duration": SPENT,
    "started": F("started_at"),
    "ended": F("completed_at"),
    "attempts": F("attempt"),
    "steps": F("sequence"),
    "worker": NullIf("worker", Value("")),
    "error": NullIf("error_message", Value("")),
}
OF_DATA: Final = frozenset({"run", "error"})  # the order would reveal hidden data


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a column, and the link that sorts by it."""

    name: str
    title: str
    query: str = ""  # of the address; "" for a column that cannot be sorted by
    direction: str = ""  # value of aria-sort

    @property
    def is_sortable(self) -> bool:
        """Return whether the column can be sorted by."""
        return bool(self.query)


@dataclass(frozen=True, slots=True)
class Order:
    """The column by which a list of runs is sorted."""

    column: str = "launched"
    is_descending: bool = True

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Order:
        """Read the order of a query; an unknown one reads as the default."""
        text = query.get("sort", "")
        column = text.removeprefix("-")
        if column not in SORTED_BY:
            return cls()
        return cls(column, is_descending=text.startswith("-"))

    @property
    def is_default(self) -> bool:
        """Return whether the newest runs come first."""
        return self == Order()

    @property
    def needs_data(self) -> bool:
        """Return whether the order depends on the data of runs."""
        return self.column in OF_DATA

    @property
    def text(self) -> str:
        """Return the order as in a query."""
        return "-" * self.is_descending + self.column

    @property
    def query(self) -> dict[str, str]:
        """Return the order as fields of a query string; {} for the default."""
        return {} if self.is_default else {"sort": self.text}

    @property
    def title(self) -> str:
        """Return the heading of the column."""
        return {"status": "Status", "run": "Run", **BUILT_IN}[self.column]

    @property
    def starts_at_oldest(self) -> bool:
        """Return whether the oldest runs come first."""
        return self.column == "launched" and not self.is_descending

    def reversed_for(self, column: str) -> Order:
        """Return the order that the heading of a column selects."""
        if column == self.column:
            return Order(column, is_descending=not self.is_descending)
        starts_descending = column in {"launched", "started", "ended", "duration"}
        return Order(column, is_descending=starts_descending)

    def order_by(self) -> list[OrderBy]:
        """Return a total order, empty values last."""
        by = SORTED_BY[self.column]
        if self.is_descending:
            return [by.desc(nulls_last=True), F("pk").desc()]
        return [by.asc(nulls_last=True), F("pk").desc()]


def headings(columns: Columns, order: Order, filters: str) -> Iterator[Heading]:
    """Yield the headings of a list. `filters` is its query string without the order."""
    start = f"{filters}&" if filters else ""
    titles = {
        "status": "Status",
        "run": "Run",
        **{name: BUILT_IN[name] for name in columns.ours},
    }
    for name, title in titles.items():
        if name not in SORTED_BY:
            yield Heading(name, title)
            continue
        direction = ("ascending", "descending")[order.is_descending]
        link = f"{start}sort={order.reversed_for(name).text}"
        is_sorted = name == order.column
        yield Heading(name, title, link, direction if is_sorted else "")
    for field in columns.fields:
        yield Heading(field.key, field.name)


@dataclass(slots=True)
class Listed:
    """A page of runs in some order."""

    page: Page[Run]
    before: Any = None  # key or number of rows from which the page continues
    parameter: str = "before"
    is_partly_sorted: bool = False  # there are more runs than were sorted


def listed(  # noqa: PLR0913 - options of a list
    runs: QuerySet[Run],
    condition: Q,
    order: Order,
    query: Mapping[str, str],
    *,
    indexed: bool,
    limit: int | None = None,
) -> Listed:
    """Return the page of a query, in an order."""
    if order.is_default:
        before = uuid_in(query.get("before", ""))
        found = keyset_page(
            runs, condition, before=before, indexed=indexed, limit=limit
        )
        return Listed(found, before)
    skip = min(int_in(query, "skip") or 0, SCAN_LIMIT)
    return _sorted(runs, condition, order, skip)


def _sorted(runs: QuerySet[Run], condition: Q, order: Order, skip: int) -> Listed:
    is_forward = order.starts_at_oldest
    by_key = runs.order_by("pk" if is_forward else "-pk")
    ends = list(by_key.values_list("pk", flat=True)[SCAN_LIMIT - 1 : SCAN_LIMIT + 1])
    has_more = len(ends) > 1
    if has_more:
        bound = {"pk__lte" if is_forward else "pk__gte": ends[0]}
        runs = runs.filter(**bound)
    ordered = runs.filter(condition).order_by(*order.order_by())
    # keys first: rows are large, and so is what a list reads besides
    keys = list(ordered.values_list("pk", flat=True)[skip : skip + PAGE_SIZE + 1])
    after = skip + PAGE_SIZE if len(keys) > PAGE_SIZE else None
    found = {row.pk: row for row in runs.filter(pk__in=keys[:PAGE_SIZE])}
    # a run may have been deleted in between
    page = Page([found[key] for key in keys[:PAGE_SIZE] if key in found], after)
    return Listed(page, skip or None, "skip", is_partly_sorted=has_more)


@dataclass(frozen=True, slots=True)
class RunCount:
    """How many runs match."""

    number: int
    is_exact: bool = True
    is_limit: bool = False  # there are more: counting stopped at COUNT_LIMIT


def counted(runs: QuerySet[Run], condition: Q, found: Listed) -> RunCount:
    """Return the number of runs that match.

    A condition that no index covers is tested on the newest PROBE_LIMIT runs.
    """
    is_whole = found.before is None and found.page.after is None
    if is_whole and not found.is_partly_sorted:
        return RunCount(len(found.page.rows))
    rows, is_exact = runs.order_by("-pk"), True
    if condition:
        ends = rows.values_list("pk", flat=True)[PROBE_LIMIT - 1 : PROBE_LIMIT + 1]
        if len(last := list(ends)) > 1:
            rows, is_exact = rows.filter(pk__gte=last[0]), False
        rows = rows.filter(condition)
    number = rows[: COUNT_LIMIT + 1].count()
    if number > COUNT_LIMIT:
        return RunCount(COUNT_LIMIT, is_exact=False, is_limit=True)
    return RunCount(number, is_exact)
