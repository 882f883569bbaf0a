"""Votes: the responses of several persons to one approval, as a node reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

A = TypeVar("A", bound=BaseModel)


class Vote(BaseModel, Generic[A]):
    """The response of one person to an approval with `votes=`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: A
    by: str = ""  # the name of the user; "": the response declared for expiry
    at: datetime | None = None
    comment: str = ""  # the reason that the person gave


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
