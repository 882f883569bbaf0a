"""The state of a run: immutable JSON with typed access.

`state.data` (frozen JSON) is authoritative. A subclass declares typed fields; reading a field
parses it from the JSON, so that a node reads the same value with or without a resume before it,
and an in-place change of a value that was read affects no other state. Every change returns a new
state, which shares all unchanged parts.

    State(score=1).set(score=2)              untyped: any key
    class Review(State):                     typed: these fields and no others
        score: float = Field(default=0.0, ge=0, le=1)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, dataclass_transform, overload

from pydantic import Field

from . import state_text
from .errors import CheckpointMismatch, NotSerialisable, StateError
from .frozen import FrozenDict, FrozenList, Json, equal, freeze, share
from .read_tracking import WatchedCache, WatchedData
from .state_base import NO_SECRETS, StateBase
from .state_fields import Fields

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from .failures import Failure


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Field,)
)
class State(StateBase):
    """The data of a run; a node takes one state and returns another."""

    __slots__ = ()

    def __init__(self, data: Mapping[str, Any] | None = None, /, **values: Any) -> None:
        """Create a state from values by name. Raises StateError, NotSerialisable."""
        given = {**data, **values} if data else values
        if self._fields is None:
            frozen, cache = freeze(given), dict[str, Any]()
        else:
            frozen, cache = self._fields.complete(given)
        self._initialise(frozen, "", "", 0, None, NO_SECRETS, cache)

    def __init_subclass__(cls, **options: Any) -> None:
        """Turn the annotated names of a subclass into fields; types are resolved on first use."""
        super().__init_subclass__(**options)
        frame = sys._getframe(1)  # noqa: SLF001 - whose local names annotations may use
        local = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        cls._fields = Fields.of(cls, State, local)

    # -- reading ----------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return the typed value of a key, or `default` if the key is missing."""
        try:
            return self[key]
        except KeyError:
            return default

    def __getitem__(self, key: str) -> Any:
        """Return the typed value of a key. Raises KeyError."""
        if self._fields is None:
            return self.data[key]
        try:
            return self._cache[key]
        except KeyError:
            value = self._cache[key] = self._fields.parse(key, self.data[key])
            return value

    def __contains__(self, key: object) -> bool:
        """Return whether the key exists, also with the value null."""
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self.data)

    def watched(self, reads: dict[str, None]) -> Self:
        """Return a view of this state that adds every key read to `reads`, in order."""
        data: Any = WatchedData(self.data, reads)
        return self._copy(data, WatchedCache(self._cache, reads))

    def unwatched(self) -> Self:
        """Return the state behind a watched view; itself if it is not watched."""
        data: Any = self.data
        return self._copy(data.source, {}) if isinstance(data, WatchedData) else self

    # -- changing: each returns a new state -------------------------------------------

    @overload
    def set(self, key: str, value: Any, /, **values: Any) -> Self: ...
    @overload
    def set(self, /, **values: Any) -> Self: ...
    def set(self, key: Any = None, value: Any = None, /, **values: Any) -> Self:
        """Return the state with one or more keys set.

        Raises StateError for a value that a field does not accept, NotSerialisable with the path.
        """
        if key is not None:
            values = {key: value, **values}
        if self._fields is None:
            return self._with(
                {key: freeze(value, key) for key, value in values.items()}, {}
            )
        return self._with(*self._fields.encode(values))

    def merge(self, other: State | Mapping[str, Any]) -> Self:
        """Return the state updated with the values of another; run metadata and secrets stay."""
        if type(other) is type(self):
            return self._with(other.data, {})  # validated already
        return self.set(**(other.data if isinstance(other, State) else other))

    def append(self, key: str, *values: Any) -> Self:
        """Return the state with values appended to a list; a missing list counts as empty.

        Raises StateError if the value of the key is not a list.
        """
        before = self.data.get(key, _EMPTY_LIST)
        if not isinstance(before, FrozenList):
            raise StateError(
                f"“{key}” is {type(before).__name__}, no list: nothing can be appended to it."
            )
        if self._fields is not None:
            added = self._fields.encode_items(key, values)
            if added is None:
                return self.set(key, [*self[key], *values])
        else:
            start = len(before)
            added = [freeze(v, f"{key}.{i}") for i, v in enumerate(values, start)]
        return self._copy(self.data.with_items({key: before.with_appended(added)}), {})

    def without(self, *keys: str) -> Self:
        """Return the state without these keys. Raises StateError for a typed state."""
        if self._fields is not None:
            raise StateError(
                f"{type(self).__name__} keeps all its fields: set {', '.join(keys)} to a"
                " value that says there is none."
            )
        return self._copy(
            FrozenDict({k: v for k, v in self.data.items() if k not in keys}), {}
        )

    def _with(self, changes: Mapping[str, Json], parsed: dict[str, Any]) -> Self:
        """Return the state with frozen values set, sharing equal parts; itself if all are equal."""
        old = self.data
        different = {}
        for key, value in changes.items():
            if key in old:
                before = old[key]
                shared = share(before, value)
                if shared is before:
                    continue
                different[key] = shared
            else:
                different[key] = value
        return self._copy(old.with_items(different), parsed) if different else self

    # -- storing ----------------------------------------------------------------------

    @classmethod
    def from_data(  # noqa: PLR0913 - all stored attributes of a state
        cls,
        data: Mapping[str, Any],
        *,
        run_id: str = "",
        checkpoint_node: str = "",
        sequence: int = 0,
        timestamp: datetime | None = None,
        secrets: Mapping[str, str] | None = None,
        failure: Failure | None = None,
    ) -> Self:
        """Return a state from stored data. Raises CheckpointMismatch if it does not fit."""
        try:
            frozen = freeze(data)
        except NotSerialisable as error:
            raise CheckpointMismatch(
                f"The stored state cannot be read: {error}"
            ) from error
        if cls._fields is not None:
            cache = cls._fields.parse_all(frozen)
        elif isinstance(frozen, FrozenDict):
            cache = {}
        else:
            raise CheckpointMismatch("The stored state is no JSON object.")
        kept = MappingProxyType(dict(secrets)) if secrets else NO_SECRETS
        state = object.__new__(cls)
        state._initialise(
            frozen, run_id, checkpoint_node, sequence, timestamp, kept, cache, failure
        )
        return state

    def to_json(self) -> str:
        """Return the state as JSON text, without secrets."""
        return state_text.write(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the state from the text that `to_json` wrote. Raises CheckpointMismatch."""
        return cls.from_data(**state_text.read(text))

    @classmethod
    def fields(cls) -> Mapping[str, FieldInfo]:
        """Return the declared fields; empty for an untyped state. Raises DefinitionError."""
        return {} if cls._fields is None else cls._fields.infos()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Return if a new state can be created from these values; defaults are not computed.

        Raises StateError, NotSerialisable.
        """
        if cls._fields is None:
            freeze(values)
        else:
            cls._fields.check(values)

    # -- as any value -----------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Return whether class and content are equal, including the types of values."""
        if not isinstance(other, State):
            return NotImplemented
        return type(self) is type(other) and equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]  # content may be large and hold lists

    def __repr__(self) -> str:
        """Show class and content, shortened, without secrets."""
        return state_text.format_state(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the secrets."""
        return _unpickle, (type(self), self.to_json())


_EMPTY_LIST = FrozenList()


def _unpickle(kind: type[State], text: str) -> State:
    return kind.from_json(text)
