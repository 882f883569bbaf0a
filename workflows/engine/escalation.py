"""Escalation of an approval: to whom else it goes if nobody has responded after a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from .errors import DefinitionError
from .round_trip import abbreviate

MAX_NAME_LENGTH: Final = 150  # characters of a group's name


@dataclass(frozen=True, slots=True)
class Escalation:
    """The time after which an approval goes to a group."""

    after: timedelta
    to: str


def checked_escalation(
    after: Any, to: Any, *, within: object, where: str
) -> Escalation | None:
    """Return the escalation that these options declare. Raises DefinitionError.

    `where` begins the message, as in "The approval “review” has". A function as `within` is
    compared when the approval is requested.
    """
    if after is None and to is None:
        return None
    if not isinstance(to, str) or not to.strip() or len(to) > MAX_NAME_LENGTH:
        raise DefinitionError(
            f"{where} escalate_to={abbreviate(to)}: give the name of the group that it goes to,"
            f" of at most {MAX_NAME_LENGTH} characters."
        )
    if not to.isprintable():
        raise DefinitionError(
            f"{where} escalate_to={abbreviate(to)}, which has characters that no name of a"
            " group has: use printable ones."
        )
    if not isinstance(after, timedelta) or after <= timedelta(0):
        raise DefinitionError(
            f"{where} escalate_after={abbreviate(after)}: give a timedelta, for how long the"
            f" approval waits before it goes to {to}."
        )
    if isinstance(within, timedelta) and after >= within:
        raise DefinitionError(
            f"{where} escalate_after={abbreviate(after)} and within={abbreviate(within)}: it"
            " expires before it goes to anyone; use a shorter escalate_after=."
        )
    return Escalation(after, to.strip())
