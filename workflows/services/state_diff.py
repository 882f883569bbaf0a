"""Differences between the states of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from workflows.execution.checkpoints import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

MISSING = object()
MAX_DIFFERENCES = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """A path at which two states differ."""

    path: tuple[str, ...]
    first: Any  # MISSING if absent
    second: Any

    @property
    def name(self) -> str:
        """Return the path as one name."""
        return ".".join(self.path)

    @property
    def in_first(self) -> bool:
        """Return whether the first state has a value."""
        return self.first is not MISSING

    @property
    def in_second(self) -> bool:
        """Return whether the second state has a value."""
        return self.second is not MISSING


def compare(first: tuple[UUID, int], second: tuple[UUID, int]) -> list[Difference]:
    """Return up to MAX_DIFFERENCES differences of two states (run id, sequence).

    Raises CheckpointMismatch if a state cannot be rebuilt.
    """
    one, other = rebuild(*first), rebuild(*second)
    pairs = differences(one.data if one else {}, other.data if other else {})
    return list(islice(pairs, MAX_DIFFERENCES))


def differences(
    first: Any, second: Any, path: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """Yield the differences of two values: objects by key, anything else as a whole."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            one, other = first.get(key, MISSING), second.get(key, MISSING)
            yield from differences(one, other, (*path, key))
    elif first is not second and (first != second or type(first) is not type(second)):
        yield Difference(path, first, second)
