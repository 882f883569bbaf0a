"""What the filters of lists have in common: they are told by an address, and tell one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib.auth.models import User

from workflows.pages.lists import json_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = -1


class Filters:
    """What is filtered, as an address tells it."""

    __slots__ = ()

    @property
    def query(self) -> dict[str, str]:
        """Return what is set."""
        raise NotImplementedError

    @property
    def encoded(self) -> str:
        """Return the same as a query string."""
        return urlencode(self.query)

    @property
    def is_any(self) -> bool:
        """Tell whether anything is filtered."""
        return bool(self.query)


def id_of_person(name: str) -> int:
    """Return a person's key, one that nobody has if there is no such person."""
    found = User.objects.filter(username=name).values_list("pk", flat=True).first()
    return NOBODY if found is None else found


def text_in(query: Mapping[str, str], name: str) -> str:
    """Return a text from a query; PostgreSQL's text cannot hold NUL.

    One that is too long is cut to a character more than fits, so that who reads it can
    tell: conditions that were cut would ask for something else.
    """
    return (
        query.get(name, "")
        .replace("\x00", "")
        .strip()[: json_conditions.MAX_LENGTH + 1]
    )
