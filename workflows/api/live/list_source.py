"""The events of lists: which rows of the first page are new or have changed.

The id of an event has a digest of each row that the client has, in the order of the page.
A reconnect compares them with the page of that moment, without state on the server: a row
is sent once for each of its contents, and intermediate contents may be skipped.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from workflows.access import permissions
from workflows.api import representations
from workflows.api.live.frames import Event
from workflows.api.paging import MAX_LIMIT
from workflows.api.schemas_live import (
    ApprovalKey,
    ApprovalListEvent,
    PauseListEvent,
    RunListEvent,
)
from workflows.errors import InvalidCursor
from workflows.pages.lists import open_approvals
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.lists.pagination import keyset_page
from workflows.pages.live.broadcast import LISTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ninja import Schema

    from workflows.api.filters import RunQuery
    from workflows.api.live.viewers import Viewer

DIGEST_BYTES: Final = 8  # of a row: two contents have the same one in 10**19 cases

Digests = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page, by what identifies each, and the event of some of them."""

    rows: Mapping[Hashable, Schema]
    event: Callable[[Sequence[Any], Sequence[Any]], Schema]  # of all ids and some rows


class ListSource:
    """The events of a list for one viewer."""

    topic = LISTS
    pause_seconds = 1.0  # minimum interval between two events
    is_over = False

    def __init__(
        self, kind: str, page: Callable[[Viewer], Page], viewer: Viewer, position: str
    ) -> None:
        """`position` is the id of the last event. Raises InvalidCursor."""
        self._kind, self._page, self._viewer = kind, page, viewer
        self._known = decode(position) if position else None

    def read(self) -> Event | None:
        """Return an event with the rows that are new or have changed, if there are any."""
        page = self._page(self._viewer)
        digests = {key: _digest(key, row) for key, row in page.rows.items()}
        found = tuple(digests.values())
        if found == self._known:
            return None
        known = set(self._known or ())
        changed = [row for key, row in page.rows.items() if digests[key] not in known]
        self._known = found
        data = page.event(tuple(page.rows), changed)
        return Event(self._kind, encode(found), data)

    def is_same_access(self) -> bool:
        """Return True: rows that the viewer may no longer see leave the page."""
        return True


def runs_page(query: RunQuery, size: int, viewer: Viewer) -> Callable[[Viewer], Page]:
    """Return a function that reads the newest runs that match.

    Raises InvalidParams, NotAllowed.
    """
    filters = query.filters(viewer.user)

    def read(viewer: Viewer) -> Page:
        runs = query.between(filters.by_index(viewer.user).prefetch_related("labels"))
        page = keyset_page(
            runs,
            filters.by_value(),
            size=size,
            indexed=filters.is_indexed,
            limit=filters.scan_limit,
        )
        rows = redacted_for(viewer.user, page.rows)
        found = representations.run_summaries(rows, viewer.user)
        return Page({row.id: row for row in found}, _runs_event)

    return read


def approvals_page(size: int) -> Callable[[Viewer], Page]:
    """Return a function that reads the oldest approvals that the viewer can respond to."""

    def read(viewer: Viewer) -> Page:
        granted = permissions.permissions_for(viewer.user)
        page = open_approvals.open_page(
            granted, person_id=viewer.user.pk, size=size, whole=True
        )
        found = [representations.approval(row, viewer.user) for row in page.rows]
        return Page({(row.run, row.sequence): row for row in found}, _approvals_event)

    return read


def pauses_page(viewer: Viewer) -> Page:
    """Return the first MAX_LIMIT paused workflows that the viewer may see, by name."""
    found = representations.paused_workflows(viewer.user, MAX_LIMIT)
    return Page({row.workflow: row for row in found}, _pauses_event)


def _runs_event(ids: Sequence[Any], items: Sequence[Any]) -> Schema:
    return RunListEvent(ids=list(ids), items=list(items))


def _approvals_event(ids: Sequence[Any], items: Sequence[Any]) -> Schema:
    keys = [ApprovalKey(run=run, sequence=sequence) for run, sequence in ids]
    return ApprovalListEvent(ids=keys, items=list(items))


def _pauses_event(ids: Sequence[Any], items: Sequence[Any]) -> Schema:
    return PauseListEvent(ids=list(ids), items=list(items))


def encode(digests: Digests) -> str:
    """Return the id of an event: the number of rows, and a digest of each."""
    text = base64.urlsafe_b64encode(b"".join(digests)).decode().rstrip("=")
    return f"{len(digests)}-{text}"


def decode(text: str) -> Digests:
    """Return the digests in the id of an event. Raises InvalidCursor."""
    count, separator, rest = text.partition("-")
    try:
        padded = rest + "=" * (-len(rest) % 4)
        found = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor from error
    rows, excess = divmod(len(found), DIGEST_BYTES)
    if excess or not separator or count != str(rows):
        raise InvalidCursor
    starts = range(0, len(found), DIGEST_BYTES)
    return tuple(found[start : start + DIGEST_BYTES] for start in starts)


def _digest(key: Hashable, row: Schema) -> bytes:
    text = f"{key} {row.model_dump_json()}"
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
