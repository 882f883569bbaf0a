"""Predicates on one key of the state: `key("confidence").at_least(0.8)`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from workflows.engine.errors import DefinitionError, NotSerialisable
from workflows.engine.frozen import Json, equal, freeze
from workflows.engine.state import State

from .core import Evaluation, Predicate, ResultParts
from .format import format_pair, format_value


class KeyPredicate(Predicate[State]):
    """A condition on one key: “confidence 0.62, needs at least 0.80”."""

    def __init__(
        self, key: str, label: str, wanted: str, holds: Callable[[Json], bool]
    ) -> None:
        """`label` follows the key in the name, `wanted` in reasons; `holds` tests the JSON."""
        super().__init__(f"{key} {label}")
        self.key = key
        self.wanted = wanted
        self._check = holds

    def __call__(self, state: State) -> bool:
        """Return the result; False for a missing key."""
        return self.key in state and self._test(state)

    def _result(self, state: Any) -> ResultParts:
        return self(state), self._reason(state, "needs"), ()

    def negated_reason(self, state: Any, evaluation: Evaluation) -> str:  # noqa: ARG002
        """Return the reason with “must not be”."""
        return self._reason(state, "must not be")

    def _test(self, state: Any) -> bool:
        return self._check(state.data[self.key])

    def _reason(self, state: Any, verb: str) -> str:
        if self.key not in state:
            return f"{self.key} is absent, {verb} {self.wanted}"
        return f"{self.key} {format_value(state.data[self.key])}, {verb} {self.wanted}"


class Existence(KeyPredicate):
    """True if a key exists, also with the value null."""

    def _reason(self, state: Any, verb: str) -> str:  # noqa: ARG002
        return f"{self.key} is {'there' if self.key in state else 'absent'}"


class Comparison(KeyPredicate):
    """True if a value is above or below a bound; false for a value of another type."""

    def __init__(
        self, key: str, label: str, bound: Any, holds: Callable[[Any, Any], bool]
    ) -> None:
        super().__init__(
            key, f"{label} {format_pair(None, bound)[1]}", label, lambda _: False
        )
        self.bound = bound
        self._compare = holds

    def with_bound(self, bound: Any) -> Comparison:
        """Return the same comparison with another bound."""
        return Comparison(self.key, self.wanted, bound, self._compare)

    def _test(self, state: Any) -> bool:
        value = state[self.key]  # typed: a date is compared with a date
        return _comparable(value, self.bound) and self._compare(value, self.bound)

    def _reason(self, state: Any, verb: str) -> str:
        if self.key not in state:
            return f"{self.key} is absent, {verb} {self.wanted} {format_pair(None, self.bound)[1]}"
        value, bound = format_pair(state[self.key], self.bound)
        if not _comparable(state[self.key], self.bound):
            value = f"{value} cannot be compared"
        return f"{self.key} {value}, {verb} {self.wanted} {bound}"


def _comparable(value: object, bound: object) -> bool:
    numbers = int | float | Decimal
    if isinstance(value, bool) or isinstance(bound, bool):
        return False
    if isinstance(value, numbers):
        return isinstance(bound, numbers)
    return isinstance(value, type(bound)) and hasattr(type(bound), "__lt__")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the state, from which predicates are created."""

    name: str

    def exists(self) -> Predicate[State]:
        """The key exists, also with the value null."""
        return Existence(self.name, "exists", "to be there", lambda _: True)

    def equals(self, value: object) -> Predicate[State]:
        """The value is equal, including its type: 1, 1.0, True and "1" differ."""
        wanted = _json(self.name, value)
        label = format_value(wanted)
        return KeyPredicate(
            self.name, f"equals {label}", label, lambda v: equal(v, wanted)
        )

    def one_of(self, *values: object) -> Predicate[State]:
        """The value equals one of these, including its type."""
        wanted = [_json(self.name, value) for value in values]
        label = f"one of {', '.join(map(format_value, wanted)) or 'none'}"
        return KeyPredicate(
            self.name, label, label, lambda v: any(equal(v, value) for value in wanted)
        )

    def at_least(self, bound: Any) -> Predicate[State]:
        """The value is not below the bound."""
        return Comparison(self.name, "at least", bound, operator.ge)

    def at_most(self, bound: Any) -> Predicate[State]:
        """The value is not above the bound."""
        return Comparison(self.name, "at most", bound, operator.le)

    def above(self, bound: Any) -> Predicate[State]:
        """The value is above the bound."""
        return Comparison(self.name, "above", bound, operator.gt)

    def below(self, bound: Any) -> Predicate[State]:
        """The value is below the bound."""
        return Comparison(self.name, "below", bound, operator.lt)

    def is_true(self) -> Predicate[State]:
        """The value is true itself, not only truthy."""
        return KeyPredicate(self.name, "is true", "true", lambda value: value is True)

    def is_false(self) -> Predicate[State]:
        """The value is false itself, not only falsy."""
        return KeyPredicate(
            self.name, "is false", "false", lambda value: value is False
        )

    def is_null(self) -> Predicate[State]:
        """The key exists with the value null."""
        return KeyPredicate(self.name, "is null", "null", lambda value: value is None)


def key(name: str) -> Key:
    """Return a key of the state, to compare: `key("confidence").at_least(0.8)`."""
    return Key(name)


def key_exists(name: str) -> Predicate[State]:
    """Return a predicate: the state has the key, also with the value null."""
    return Key(name).exists()


def key_equals(name: str, value: object) -> Predicate[State]:
    """Return a predicate: the value of a key is equal, including its type."""
    return Key(name).equals(value)


def _json(name: str, value: object) -> Json:
    """Return a value as a state stores it: an enum, a date or a model as JSON."""
    try:
        return freeze(value, name)
    except NotSerialisable:
        pass
    try:
        return freeze(to_jsonable_python(value), name)
    except (PydanticSerializationError, NotSerialisable) as error:
        raise DefinitionError(
            f"No state can hold {value!r}, so “{name}” never equals it.",
            code="predicate.function",
        ) from error
