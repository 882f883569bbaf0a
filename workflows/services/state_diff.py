"""What two states have not in common: the differences between two runs at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.execution.checkpoints import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

MISSING = object()
MOST = 60  # differences told


@dataclass(frozen=True, slots=True)
class Difference:
    """A place of the state where two runs have not the same."""

    path: tuple[str, ...]
    first: Any  # MISSING where one has nothing there
    second: Any

    @property
    def name(self) -> str:
        """Return the path as one name."""
        return ".".join(self.path)

    @property
    def in_first(self) -> bool:
        """Tell whether the first run has something there."""
        return self.first is not MISSING

    @property
    def in_second(self) -> bool:
        """Tell whether the second run has something there."""
        return self.second is not MISSING


def states_of(first: tuple[UUID, int], second: tuple[UUID, int]) -> list[Difference]:
    """Return how the states of two runs differ, each after one of its steps.

    Raises CheckpointMismatch when a state cannot be rebuilt.
    """
    one, other = rebuild(*first), rebuild(*second)
    before = one.data if one else {}
    after = other.data if other else {}
    found = []
    for difference in differences(before, after):
        found.append(difference)
        if len(found) == MOST:
            break
    return found


def differences(
    first: Any, second: Any, path: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """Yield the places where two values differ, objects key by key, all else as a whole."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            one, other = first.get(key, MISSING), second.get(key, MISSING)
            yield from differences(one, other, (*path, key))
    elif first is not second and (first != second or type(first) is not type(second)):
        yield Difference(path, first, second)
