"""For which actions of people a workflow asks for a reason."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal, TypeAlias, get_args

from .errors import DefinitionError
from .round_trip import abbreviate

ReasonAction: TypeAlias = Literal[
    "cancel",
    "resume",
    "rerun",
    "fork",
    "release",
    "delete",
    "pin",
    "mark golden",
    "respond",
    "pause workflow",
]
REASON_ACTIONS: Final[tuple[str, ...]] = get_args(ReasonAction)


def checked_reasons(
    workflow: str, actions: Collection[ReasonAction] | None
) -> frozenset[str] | None:
    """Return the actions for which a reason is asked, None for all. Raises DefinitionError."""
    if actions is None:
        return None
    given: Any = actions  # of an author
    if isinstance(given, str) or not isinstance(given, tuple | list | set | frozenset):
        raise DefinitionError(
            f"Workflow “{workflow}” has reasons_for={abbreviate(given)}: give a tuple of"
            ' actions, such as ("cancel", "respond").'
        )
    for action in given:
        if action not in REASON_ACTIONS:
            known = ", ".join(map(repr, REASON_ACTIONS))
            raise DefinitionError(
                f"Workflow “{workflow}” has reasons_for= with {abbreviate(action)}: use {known}."
            )
    return frozenset(given)
