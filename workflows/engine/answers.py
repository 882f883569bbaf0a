"""Answers to nodes that wait: read in their type, and put into the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .adapters import codec
from .errors import AnswerInvalid, DefinitionError, NotSerialisable, describe
from .frozen import Json
from .state import State

S = TypeVar("S", bound=State)


def read_answer(kind: type[BaseModel], value: Json, node: str) -> BaseModel:
    """Return a stored answer in its type. Raises AnswerInvalid."""
    try:
        answer: BaseModel = codec(kind).read(value)
    except ValidationError as error:
        raise AnswerInvalid(node, error) from error
    return answer


def with_answer(state: S, into: str, answer: Any, kind: Any) -> S:
    """Return the state with an answer of that type in a field."""
    if into in state.fields():
        return state.set(into, answer)
    # an untyped state holds JSON only
    return state.set(into, codec(kind).encode(answer)[0])


def checked_expiry(
    kind: type[BaseModel], on_expiry: BaseModel | Mapping[str, Any] | None, what: str
) -> tuple[BaseModel | None, Json]:
    """Return the answer on expiry, in its type and as JSON. Raises DefinitionError.

    `what` names the node in messages, before it has a name.
    """
    if on_expiry is None:
        return None, None
    try:
        encoded, value = codec(kind).encode(on_expiry)
    except (ValidationError, NotSerialisable) as error:
        raise DefinitionError(
            f"on_expiry of {what} is no answer to it: {describe(error)}"
        ) from error
    return value, encoded
