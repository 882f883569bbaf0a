"""What every state has apart from its values: immutability, its place in a run, and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .frozen import FrozenDict
from .state_fields import Fields

if TYPE_CHECKING:
    from .failures import Failure

NO_SECRETS: Mapping[str, str] = MappingProxyType({})
_put = object.__setattr__


class StateBase:
    """Frozen JSON with the metadata of a run; every change returns a new object."""

    __slots__ = (
        "_cache",
        "_failure",
        "_secrets",
        "checkpoint_node",
        "data",
        "run_id",
        "sequence",
        "timestamp",
    )
    _fields: ClassVar[Fields | None] = None  # None: any key is allowed

    if TYPE_CHECKING:
        # properties, so that a type checker does not take them for fields
        _cache: ClassVar[Any]
        _failure: ClassVar[Failure | None]
        _secrets: ClassVar[Any]

        @property
        def data(self) -> FrozenDict:
            """The content as frozen JSON; all other views are derived from it."""

        @property
        def run_id(self) -> str:
            """The ID of the run; set by the runner, never by a node."""

        @property
        def checkpoint_node(self) -> str:
            """The node that produced the state; empty for the initial state."""

        @property
        def sequence(self) -> int:
            """The number of steps completed; 0 for the initial state."""

        @property
        def timestamp(self) -> datetime | None:
            """When the step that produced the state completed; None before the run started."""

    def _initialise(  # noqa: PLR0913, PLR0917 - all attributes of a state, on the hot path
        self,
        data: FrozenDict,
        run_id: str,
        checkpoint_node: str,
        sequence: int,
        timestamp: datetime | None,
        secrets: Mapping[str, str],
        cache: Any,
        failure: Failure | None = None,
    ) -> None:
        _put(self, "data", data)
        _put(self, "run_id", run_id)
        _put(self, "checkpoint_node", checkpoint_node)
        _put(self, "sequence", sequence)
        _put(self, "timestamp", timestamp)
        _put(self, "_secrets", secrets)
        _put(self, "_failure", failure)
        _put(self, "_cache", cache)  # parsed fields, never shared with another state

    if not TYPE_CHECKING:  # type checkers know the fields of a class, and no others

        def __setattr__(self, name: str, value: object) -> None:
            """Raises AttributeError: states are immutable."""
            raise AttributeError(
                f"A state cannot be changed: return state.set({name}=…) from the node instead."
            )

        def __delattr__(self, name: str) -> None:
            """Raises AttributeError: states are immutable."""
            raise AttributeError(f"A state cannot be changed: “{name}” stays.")

        def __getattr__(self, name: str) -> Any:
            """Return a key of an untyped state as an attribute, as templates need it."""
            if name.startswith("__") or name in StateBase.__slots__:
                raise AttributeError(name)
            if self._fields is not None:
                raise AttributeError(self._fields.unknown(name))
            try:
                return self.data[name]
            except KeyError:
                raise AttributeError(f"The state has no “{name}”.") from None

    # -- failure routes ---------------------------------------------------------------

    @property
    def step_failure(self) -> Failure | None:
        """The failure of the step before, on a failure route; None after any other step."""
        return self._failure

    @property
    def failure(self) -> Failure | None:
        """`step_failure`, unless the state has a value of its own under this name."""
        if self._fields is None and "failure" in self.data:
            own: Any = self.data["failure"]
            return own  # type: ignore[no-any-return]
        return self._failure

    # -- copies -----------------------------------------------------------------------

    def clone(self) -> Self:
        """Return an equal state that shares no parsed values with this one."""
        return self._copy(self.data, {})

    __copy__ = clone

    def __deepcopy__(self, _memo: object) -> Self:
        """Return a clone; the content is immutable."""
        return self.clone()

    def stamped(
        self,
        *,
        run_id: str | None = None,
        checkpoint_node: str | None = None,
        sequence: int | None = None,
        timestamp: datetime | None = None,
        failure: Failure | None = None,
    ) -> Self:
        """Return the state with other run metadata; None keeps a value, except for `failure`."""
        other = object.__new__(type(self))
        other._initialise(
            self.data,
            self.run_id if run_id is None else run_id,
            self.checkpoint_node if checkpoint_node is None else checkpoint_node,
            self.sequence if sequence is None else sequence,
            self.timestamp if timestamp is None else timestamp,
            self._secrets,
            {},
            failure,
        )
        return other

    def _copy(self, data: FrozenDict, cache: Any) -> Self:
        other = object.__new__(type(self))
        other._initialise(
            data,
            self.run_id,
            self.checkpoint_node,
            self.sequence,
            self.timestamp,
            self._secrets,
            cache,
            self._failure,
        )
        return other

    # -- secrets: never stored, logged, shown or put in an event ----------------------

    @property
    def secrets(self) -> Mapping[str, str]:
        """The secrets of this attempt by name."""
        secrets: Mapping[str, str] = self._secrets
        return secrets

    def secret(self, name: str, default: str = "") -> str:
        """Return one secret, or `default` if there is none of that name."""
        return self.secrets.get(name, default)

    def set_secret(self, name: str, value: str) -> Self:
        """Return the state with a secret added or replaced."""
        return self._with_secrets({**self._secrets, name: value})

    def without_secrets(self) -> Self:
        """Return the state as it may be stored."""
        return self._with_secrets({})

    def _with_secrets(self, secrets: Mapping[str, str]) -> Self:
        other = self.clone()
        _put(other, "_secrets", MappingProxyType(dict(secrets)))
        return other
