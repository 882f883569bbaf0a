"""A run's state: immutable JSON with a typed face.

The truth is `state.data`, frozen JSON. A subclass declares typed fields; reading one parses it
from the JSON, so what a node reads is the same with or without a resume in between, and a change
in place of what was read reaches no other state. Every change makes a new state, which shares
all it did not touch.

    State(score=1).set(score=2)              an open bag: any key
    class Review(State):                     typed: these fields and no others
        score: float = Field(default=0.0, ge=0, le=1)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform, overload

from pydantic import Field

from . import state_text
from .errors import CheckpointMismatch, NotSerialisable, StateError
from .fields import Fields
from .frozen import FrozenDict, FrozenList, Json, equal, freeze, share
from .watching import WatchedCache, WatchedData

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_NO_SECRETS: Mapping[str, str] = MappingProxyType({})
_put = object.__setattr__


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Field,)
)
class State:
    """What a run knows; a node gets one and returns another."""

    __slots__ = (
        "_cache",
        "_secrets",
        "checkpoint_node",
        "data",
        "run_id",
        "sequence",
        "timestamp",
    )
    _fields: ClassVar[Fields | None] = None  # None: an open bag

    if TYPE_CHECKING:
        # properties, so that a type checker does not take them for fields
        _cache: ClassVar[Any]
        _secrets: ClassVar[Any]

        @property
        def data(self) -> FrozenDict:
            """The truth: frozen JSON."""

        @property
        def run_id(self) -> str:
            """The run it belongs to; set by the executor, never by a node."""

        @property
        def checkpoint_node(self) -> str:
            """The node it stands after; empty at first."""

        @property
        def sequence(self) -> int:
            """Steps completed when it was made; 0 at first."""

        @property
        def timestamp(self) -> datetime | None:
            """When the step that made it completed; None before the run began."""

    def __init__(self, data: Mapping[str, Any] | None = None, /, **values: Any) -> None:
        """Take values by name. Raises StateError, NotSerialisable."""
        given = {**data, **values} if data else values
        if self._fields is None:
            frozen, cache = freeze(given), dict[str, Any]()
        else:
            frozen, cache = self._fields.complete(given)
        self._fill(frozen, "", "", 0, None, _NO_SECRETS, cache)

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the annotated names of a subclass its fields; their types are found later."""
        super().__init_subclass__(**options)
        frame = sys._getframe(1)  # noqa: SLF001 - whose local names annotations may use
        local = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        cls._fields = Fields.of(cls, State, local)

    def _fill(  # noqa: PLR0913, PLR0917 - the whole of a state, on the hot path
        self,
        data: FrozenDict,
        run_id: str,
        checkpoint_node: str,
        sequence: int,
        timestamp: datetime | None,
        secrets: Mapping[str, str],
        cache: Any,
    ) -> None:
        _put(self, "data", data)
        _put(self, "run_id", run_id)
        _put(self, "checkpoint_node", checkpoint_node)
        _put(self, "sequence", sequence)
        _put(self, "timestamp", timestamp)
        _put(self, "_secrets", secrets)
        _put(self, "_cache", cache)  # parsed fields; of this very object only

    if not TYPE_CHECKING:  # type checkers know the fields of a class, and no others

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse: a state never changes."""
            raise AttributeError(
                f"A state cannot be changed: return state.set({name}=…) from the node instead."
            )

        def __delattr__(self, name: str) -> None:
            """Refuse: a state never changes."""
            raise AttributeError(f"A state cannot be changed: “{name}” stays.")

        def __getattr__(self, name: str) -> Any:
            """Read a key of an open bag as an attribute: what a template does."""
            if name.startswith("__") or name in State.__slots__:
                raise AttributeError(name)
            if self._fields is not None:
                raise AttributeError(self._fields.unknown(name))
            try:
                return self.data[name]
            except KeyError:
                raise AttributeError(f"The state has no “{name}”.") from None

    # -- reading ----------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under a key, in its type; `default` where there is none."""
        try:
            return self[key]
        except KeyError:
            return default

    def __getitem__(self, key: str) -> Any:
        """Return the value under a key, in its type. Raises KeyError."""
        if self._fields is None:
            return self.data[key]
        try:
            return self._cache[key]
        except KeyError:
            value = self._cache[key] = self._fields.parse(key, self.data[key])
            return value

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a value, be it null."""
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        """Return the keys."""
        return iter(self.data)

    def watched(self, reads: dict[str, None]) -> Self:
        """Return this state as one that adds every key read from it to `reads`, in order."""
        data: Any = WatchedData(self.data, reads)
        return self._copy(data, WatchedCache(self._cache, reads))

    def unwatched(self) -> Self:
        """Return this state without anyone watching; itself if no one does."""
        data: Any = self.data
        return self._copy(data.source, {}) if isinstance(data, WatchedData) else self

    # -- changing: each returns a new state -------------------------------------------

    @overload
    def set(self, key: str, value: Any, /, **values: Any) -> Self: ...
    @overload
    def set(self, /, **values: Any) -> Self: ...
    def set(self, key: Any = None, value: Any = None, /, **values: Any) -> Self:
        """Return the state with a key, or several, set.

        Raises StateError for what a typed state does not take, NotSerialisable with the path.
        """
        if key is not None:
            values = {key: value, **values}
        if self._fields is None:
            return self._with(
                {key: freeze(value, key) for key, value in values.items()}, {}
            )
        return self._with(*self._fields.encode(values))

    def merge(self, other: State | Mapping[str, Any]) -> Self:
        """Return the state with the other's values on top; run and secrets stay this one's."""
        if type(other) is type(self):
            return self._with(other.data, {})  # checked already
        return self.set(**(other.data if isinstance(other, State) else other))

    def append(self, key: str, *values: Any) -> Self:
        """Return the state with values at the end of a list; a missing list is empty.

        Raises StateError when there is something else than a list.
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
        """Return the state without these keys. Raises StateError for a typed one."""
        if self._fields is not None:
            raise StateError(
                f"{type(self).__qualname__} keeps all its fields: set {', '.join(keys)} to a"
                " value that says there is none."
            )
        return self._copy(
            FrozenDict({k: v for k, v in self.data.items() if k not in keys}), {}
        )

    def clone(self) -> Self:
        """Return the same content; nothing read from one reaches the other."""
        return self._copy(self.data, {})

    __copy__ = clone

    def __deepcopy__(self, _memo: object) -> Self:
        """Return a clone: there is nothing in it that could be changed."""
        return self.clone()

    def stamped(
        self,
        *,
        run_id: str | None = None,
        checkpoint_node: str | None = None,
        sequence: int | None = None,
        timestamp: datetime | None = None,
    ) -> Self:
        """Return the same content and secrets at another place in a run."""
        other = object.__new__(type(self))
        other._fill(
            self.data,
            self.run_id if run_id is None else run_id,
            self.checkpoint_node if checkpoint_node is None else checkpoint_node,
            self.sequence if sequence is None else sequence,
            self.timestamp if timestamp is None else timestamp,
            self._secrets,
            {},
        )
        return other

    def _with(self, changes: Mapping[str, Json], parsed: dict[str, Any]) -> Self:
        """Return the state with frozen values set, sharing what is equal; itself if all is."""
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

    def _copy(self, data: FrozenDict, cache: Any) -> Self:
        other = object.__new__(type(self))
        other._fill(
            data,
            self.run_id,
            self.checkpoint_node,
            self.sequence,
            self.timestamp,
            self._secrets,
            cache,
        )
        return other

    # -- secrets: never stored, logged, shown or put in an event ----------------------

    @property
    def secrets(self) -> Mapping[str, str]:
        """The secrets by name; they last as long as this attempt."""
        secrets: Mapping[str, str] = self._secrets
        return secrets

    def secret(self, name: str, default: str = "") -> str:
        """Return one secret; `default` where there is none."""
        return self.secrets.get(name, default)

    def set_secret(self, name: str, value: str) -> Self:
        """Return the state with a secret."""
        return self._with_secrets({**self._secrets, name: value})

    def without_secrets(self) -> Self:
        """Return what may be stored."""
        return self._with_secrets({})

    def _with_secrets(self, secrets: Mapping[str, str]) -> Self:
        other = self.clone()
        _put(other, "_secrets", MappingProxyType(dict(secrets)))
        return other

    # -- storing ----------------------------------------------------------------------

    @classmethod
    def from_data(  # noqa: PLR0913 - all that is stored of a state
        cls,
        data: Mapping[str, Any],
        *,
        run_id: str = "",
        checkpoint_node: str = "",
        sequence: int = 0,
        timestamp: datetime | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the state of stored data. Raises CheckpointMismatch when it does not fit."""
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
        kept = MappingProxyType(dict(secrets)) if secrets else _NO_SECRETS
        state = object.__new__(cls)
        state._fill(frozen, run_id, checkpoint_node, sequence, timestamp, kept, cache)
        return state

    def to_json(self) -> str:
        """Return the whole state as text, without its secrets."""
        return state_text.write(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the state of a text that `to_json` wrote. Raises CheckpointMismatch."""
        return cls.from_data(**state_text.read(text))

    @classmethod
    def fields(cls) -> Mapping[str, FieldInfo]:
        """Return the declared fields; none of an open bag. Raises DefinitionError."""
        return {} if cls._fields is None else cls._fields.infos()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Return if a new state can be made of these values; no default is made for it.

        Raises StateError, NotSerialisable.
        """
        if cls._fields is None:
            freeze(values)
        else:
            cls._fields.check(values)

    @classmethod
    def field_types(cls) -> dict[str, str]:
        """Return the shape of each field's JSON as text: what a fingerprint is made of.

        Raises DefinitionError for a type that cannot be found or a default that does not fit.
        """
        return {} if cls._fields is None else cls._fields.shapes()

    # -- as any value -----------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Tell whether class and content are the same, types and all."""
        if not isinstance(other, State):
            return NotImplemented
        return type(self) is type(other) and equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]  # content may be large and hold lists

    def __repr__(self) -> str:
        """Show class and content, shortened; secrets are nobody's business."""
        return state_text.show(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the secrets."""
        return _unpickled, (type(self), self.to_json())


_EMPTY_LIST = FrozenList()


def _unpickled(kind: type[State], text: str) -> State:
    return kind.from_json(text)
