"""Pages of lists: an opaque cursor names the key from which the next page continues."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from ninja import Schema
from pydantic import Field

from workflows.errors import InvalidCursor
from workflows.pages.query_string import uuid_in

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

MAX_LIMIT: Final = 200  # rows on a page
DEFAULT_LIMIT: Final = 50
MAX_CURSOR_LENGTH: Final = 500  # characters


class Paging(Schema):
    """Query parameters of a list."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows on a page.")
    cursor: str = Field(
        "", max_length=MAX_CURSOR_LENGTH, description="`next` of the page before."
    )

    @property
    def after(self) -> Any:
        """The key to continue from, None on the first page. Raises InvalidCursor."""
        return decode(self.cursor) if self.cursor else None

    @property
    def after_number(self) -> int | None:
        """The key as a number, None on the first page. Raises InvalidCursor."""
        return number(self.after)

    @property
    def after_id(self) -> UUID | None:
        """The key as a UUID, None on the first page. Raises InvalidCursor."""
        key = self.after
        if key is None:
            return None
        found = uuid_in(key) if isinstance(key, str) else None
        if found is None:
            raise InvalidCursor
        return found


def number(key: Any) -> int | None:
    """Return the key of a cursor as a number. Raises InvalidCursor."""
    if key is None:
        return None
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**63:
        raise InvalidCursor
    return key


def encode(key: Any) -> str:
    """Return the cursor of a key: a number, a text or a list of them."""
    text = json.dumps(key, default=str, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> Any:
    """Return the key of a cursor. Raises InvalidCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidCursor from error


def link_next(request: HttpRequest, response: HttpResponse, after: Any) -> str | None:
    """Return the cursor of the next page, which is also put into the Link header."""
    if after is None:
        return None
    cursor = encode(after)
    query = request.GET.copy()  # with every value of a repeated parameter
    query["cursor"] = cursor
    address = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
    response["Link"] = f'<{address}>; rel="next"'
    return cursor
