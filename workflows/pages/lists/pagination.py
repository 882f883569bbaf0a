"""Keyset pagination at a bounded cost.

Rows are read in the order of an index, from a key on. A condition that no index covers is
tested on at most SCAN_LIMIT of the newest rows; the page then reports how far it scanned,
and its next page continues from there. Conditions on JSON are covered by GIN indexes of
PostgreSQL: common values are found among the newest PROBE_LIMIT rows, rare ones by the
index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db.models.functions import Coalesce

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence

    from django.db.models import Model, Q, QuerySet

PAGE_SIZE = 50  # rows on one page
SCAN_LIMIT = 20_000  # rows that are scanned for one page
# the same for rows that are far apart, each on another page of the database
SCATTERED_LIMIT = 5_000
PROBE_LIMIT = 4_000  # rows that are scanned before the index of values is used

Row = TypeVar("Row", bound="Model")


@dataclass(slots=True)
class Page(Generic[Row]):
    """One page of rows, and where the next one begins."""

    rows: list[Row] = field(default_factory=list)
    after: Any = None  # key the next page continues from; None on the last page
    scanned: int = 0  # rows that were scanned, if the scan reached its limit
    scanned_to: dt.datetime | None = None  # and when the last of them was created


def keyset_page(  # noqa: PLR0913 - options of a page
    rows: QuerySet[Row],
    condition: Q | None = None,
    *,
    before: Any = None,
    size: int | None = None,
    indexed: bool = False,
    limit: int | None = None,
) -> Page[Row]:
    """Return a page of the newest rows that match, those with keys below `before`.

    `rows` are selected by an index in descending order of keys. `condition` is tested on
    each of up to `limit` rows, at most SCAN_LIMIT; with `indexed`, PostgreSQL has an index for
    it, which gives no order.
    """
    size = size or PAGE_SIZE
    if before is not None:
        rows = rows.filter(pk__lt=before)
    rows = rows.order_by("-pk")
    if not condition:
        return _cut(list(rows[: size + 1]), size)
    by_index = indexed and is_postgresql()
    limit = PROBE_LIMIT if by_index else min(limit or SCAN_LIMIT, SCAN_LIMIT)
    # keys only, which an index has without the rows
    ends = list(rows.values_list("pk", flat=True)[limit - 1 : limit + 1])
    last = ends[0] if len(ends) > 1 else None  # the last row that is scanned
    scanned = rows if last is None else rows.filter(pk__gte=last)
    page = _cut(list(scanned.filter(condition)[: size + 1]), size)
    if page.after is not None or last is None:
        return page
    if by_index:
        # an order that no index has, so that the index of values is used
        return _cut(list(_unordered(rows.filter(condition))[: size + 1]), size)
    page.after, page.scanned = last, limit
    page.scanned_to = rows.filter(pk=last).values_list("created_at", flat=True).first()
    return page


def merged_page(
    parts: Sequence[QuerySet[Row]], *, before: Any = None, size: int | None = None
) -> Page[Row]:
    """Return a page of the newest rows of several disjoint query sets."""
    size = size or PAGE_SIZE
    rows: list[Row] = []
    for part in parts:
        narrowed = part if before is None else part.filter(pk__lt=before)
        rows += narrowed.order_by("-pk")[: size + 1]
    rows.sort(key=lambda row: row.pk, reverse=True)
    return _cut(rows, size)


def forward_page(
    rows: QuerySet[Row],
    *,
    after: Any = None,
    size: int | None = None,
    key: str = "pk",
) -> Page[Row]:
    """Return a page of the oldest rows, those whose unique `key` is above `after`."""
    size = size or PAGE_SIZE
    if after is not None:
        rows = rows.filter(**{f"{key}__gt": after})
    return _cut(list(rows.order_by(key)[: size + 1]), size, key)


def _unordered(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.order_by(Coalesce("pk", "pk").desc())


def _cut(rows: list[Row], size: int, key: str = "pk") -> Page[Row]:
    has_more = len(rows) > size
    rows = rows[:size]
    return Page(rows, getattr(rows[-1], key) if has_more else None)


def iter_pages(read: Callable[[Any], Page[Row]]) -> Iterator[list[Row]]:
    """Yield the rows of all pages; `read` returns the page after a key, None for the first."""
    after: Any = None
    while True:
        page = read(after)
        yield page.rows
        if page.after is None:
            return
        after = page.after


def iter_chunks(
    rows: QuerySet[Row], condition: Q | None = None, *, size: int = 200
) -> Iterator[list[Row]]:
    """Yield all rows that match, newest first, in chunks that are read one by one.

    No cursor and no transaction stays open between chunks: a download may be slow.
    """
    before = None
    while True:
        page = keyset_page(rows, condition, before=before, size=size)
        yield page.rows
        if page.after is None:
            return
        before = page.after
