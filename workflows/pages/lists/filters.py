"""Base of the filters of lists, which are read from a query string and written to one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib.auth.models import User

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = -1


class Filters:
    """Conditions on the rows of a list."""

    __slots__ = ()

    @property
    def query(self) -> dict[str, str]:
        """Return the filters that are set, as fields of a query string."""
        raise NotImplementedError

    @property
    def encoded(self) -> str:
        """Return the filters as a query string."""
        return urlencode(self.query)

    @property
    def is_any(self) -> bool:
        """Return whether any filter is set."""
        return bool(self.query)


def id_of_person(name: str) -> int:
    """Return a user's primary key; NOBODY, which no user has, for an unknown name."""
    found = User.objects.filter(username=name).values_list("pk", flat=True).first()
    return NOBODY if found is None else found


def without_empty(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a query that have a value."""
    return {name: value for name, value in fields.items() if value}
