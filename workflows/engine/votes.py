"""Votes: the responses of several persons to one approval, as a node reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from .errors import DefinitionError, describe
from .frozen import Json, equal
from .round_trip import abbreviate

A = TypeVar("A", bound=BaseModel)


class Vote(BaseModel, Generic[A]):
    """The response of one person to an approval with `votes=`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: A
    by: str = ""  # the name of the user; "": the response declared for expiry
    at: datetime | None = None
    comment: str = ""  # the reason that the person gave


def is_veto(veto: Mapping[str, Any] | None, response: Json) -> bool:
    """Return whether a response as JSON has the values with which one ends the vote."""
    if not veto or not isinstance(response, Mapping):
        return False
    return all(
        name in response and equal(response[name], value)
        for name, value in veto.items()
    )


def checked_veto(
    answer: type[BaseModel], veto: Any, *, votes: int, where: str
) -> dict[str, Any] | None:
    """Return the values that end a vote, as JSON. Raises DefinitionError."""
    if veto is None:
        return None
    if votes == 1:
        raise DefinitionError(f"{where} veto=, and one response ends it: add votes=.")
    if not isinstance(veto, Mapping) or not veto:
        raise DefinitionError(
            f"{where} veto={abbreviate(veto)}: give a dict of values by field, such as"
            ' {"outcome": "reject"}.'
        )
    values = {}
    for name, value in veto.items():
        field = answer.model_fields.get(name)
        if field is None:
            raise DefinitionError(
                f"{where} veto={abbreviate(veto)}, and {answer.__name__} has no field {name!r}."
            )
        try:
            annotation: Any = field.annotation
            kind: TypeAdapter[Any] = TypeAdapter(annotation)
            values[name] = kind.dump_python(kind.validate_python(value), mode="json")
        except ValidationError as error:
            raise DefinitionError(
                f"{where} veto={abbreviate(veto)}, which {answer.__name__} does not accept:"
                f" {describe(error)}"
            ) from error
    return values


def votes_of(answer: type[BaseModel]) -> Any:
    """Return the type of the votes on an answer of this type."""
    return tuple[Vote[answer], ...]  # type: ignore[valid-type]  # a type made at run time


def answer_in_votes(annotation: Any) -> Any:
    """Return the type of the answers in a field that can keep votes, None for another field."""
    if get_origin(annotation) not in {tuple, list}:
        return None
    items = get_args(annotation)
    if len(items) > 1 and items[1:] != (...,):
        return None
    vote = items[0]
    if not (isinstance(vote, type) and issubclass(vote, Vote)):
        return None
    found = vote.__pydantic_generic_metadata__["args"]
    return found[0] if found else None
