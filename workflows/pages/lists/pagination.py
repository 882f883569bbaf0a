"""A page of rows, newest first, at a cost that has a bound.

What an index answers is read in its order. A condition that no index answers is looked
for among so many of the newest rows and no more: the page then says how far it looked,
and going on from there is a link. Conditions on JSON are answered by PostgreSQL's GIN
indexes: common values are found among the newest rows, rare ones by the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db.models.functions import Coalesce

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from django.db.models import Model, Q, QuerySet

PAGE = 50  # rows on one page
WINDOW = 20_000  # rows that are looked through for one page
PROBE = 4_000  # rows that are looked through before the index of values is asked

Row = TypeVar("Row", bound="Model")


@dataclass(slots=True)
class Page(Generic[Row]):
    """One page of rows, and where the next one begins."""

    rows: list[Row] = field(default_factory=list)
    after: Any = None  # key the next page comes after; None = there is no more
    looked: int = 0  # rows that were looked through, if the page stopped there
    looked_to: dt.datetime | None = None  # and when the last of them was made


def page_of(
    rows: QuerySet[Row],
    condition: Q | None = None,
    *,
    before: Any = None,
    size: int | None = None,
    indexed: bool = False,
) -> Page[Row]:
    """Return the newest rows that match, from a key on.

    `rows` are those an index gives newest first. `condition` is what no index gives in
    that order; with `indexed`, PostgreSQL has one for it that gives no order.
    """
    size = size or PAGE
    if before is not None:
        rows = rows.filter(pk__lt=before)
    rows = rows.order_by("-pk")
    if not condition:
        return _cut(list(rows[: size + 1]), size)
    by_index = indexed and is_postgresql()
    window = PROBE if by_index else WINDOW
    ends = list(rows.values_list("pk", "created_at")[window - 1 : window + 1])
    edge = ends[0] if len(ends) > 1 else None  # the last row of the window
    near = rows.filter(pk__gte=edge[0]) if edge else rows
    found = _cut(list(near.filter(condition)[: size + 1]), size)
    if found.after is not None or edge is None:
        return found
    if by_index:
        # an order that no index has, so that the index of values is used
        return _cut(list(_unordered(rows.filter(condition))[: size + 1]), size)
    found.after, found.looked, found.looked_to = edge[0], window, edge[1]
    return found


def page_of_several(
    parts: Sequence[QuerySet[Row]], *, before: Any = None, size: int | None = None
) -> Page[Row]:
    """Return the newest rows of several query sets that share none, laid together."""
    size = size or PAGE
    rows: list[Row] = []
    for part in parts:
        narrowed = part if before is None else part.filter(pk__lt=before)
        rows += narrowed.order_by("-pk")[: size + 1]
    rows.sort(key=lambda row: row.pk, reverse=True)
    return _cut(rows, size)


def _unordered(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.order_by(Coalesce("pk", "pk").desc())


def _cut(rows: list[Row], size: int) -> Page[Row]:
    more = len(rows) > size
    rows = rows[:size]
    return Page(rows, rows[-1].pk if more else None)


def all_of(
    rows: QuerySet[Row], condition: Q | None = None, *, size: int = 200
) -> Iterator[list[Row]]:
    """Yield every row that matches, newest first, in chunks read one after another.

    No cursor and no transaction stays open in between: a download may take as long as
    it likes.
    """
    before = None
    while True:
        found = page_of(rows, condition, before=before, size=size)
        yield found.rows
        if found.after is None:
            return
        before = found.after
