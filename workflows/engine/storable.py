"""Checks at the declaration of a workflow that values of its types can be stored."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any, ForwardRef, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.errors import PydanticUserError

from .adapters import codec, schema
from .errors import DefinitionError
from .round_trip import aliases

_SECRETS = (Secret, SecretBytes, SecretStr)
_LAUNCH_HINT = (
    "Give it at launch as the run's token, which is encrypted and is deleted when the run"
    ' ends; a node reads it with state.secret("token").'
)


def check_storable(kind: Any, what: str) -> None:
    """Check a type of user input: the params of a workflow, the answer of an approval.

    Raises DefinitionError with the field for a secret, for a required field that is excluded
    from serialisation, and for a type that is no JSON object.
    """
    check_no_secrets(kind, what)
    for path, model, name in _model_fields(kind):
        field = model.model_fields[name]
        if field.exclude and field.is_required():
            raise DefinitionError(
                f"{what} cannot be stored: “{path}” is required and has exclude=True, so it"
                " would be missing when it is read. Give it a default, or do not exclude it."
            )
        if clash := _clash(kind, model, name):
            raise DefinitionError(
                f"{what} cannot be stored: “{clash}” is the name of one field and an alias"
                f" of another, “{path}”. Give one of them another name."
            )
    _check_is_object(kind, what)


def check_no_secrets(kind: Any, what: str) -> None:
    """Raise DefinitionError, with the field, for a type that contains a secret."""
    for path, inner in _types_in(kind):
        if _is_secret(inner):
            name = getattr(get_origin(inner) or inner, "__name__", "Secret")
            at = f" at “{path}”" if path else ""
            raise DefinitionError(
                f"{what} cannot be stored: it has a {name}{at}, and values are stored as"
                f" text that people read. {_LAUNCH_HINT}"
            )


def _check_is_object(kind: Any, what: str) -> None:
    try:
        with warnings.catch_warnings():  # the form reports a default without JSON
            warnings.simplefilter("ignore")
            inner = schema(kind)
    except PydanticUserError as error:
        raise DefinitionError(
            f"{what} cannot become a form: {str(error).partition(chr(10))[0]}"
        ) from error
    if inner.get("type", "object") != "object":
        raise DefinitionError(
            f"{what} must have fields with names: its JSON is of type {inner['type']}. Put"
            " it into a field of a model."
        )


def _clash(kind: Any, model: type[BaseModel], name: str) -> str:
    """Return an alias of a field that is another's name, if names are stored; else ""."""
    if not codec(kind).by_name:
        return ""
    keys = aliases(model.model_fields[name])
    return next((key for key in keys if key != name and key in model.model_fields), "")


def _is_secret(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, _SECRETS)


def _model_fields(kind: Any) -> Iterator[tuple[str, type[BaseModel], str]]:
    """Yield each field of each model in a type, with its path."""
    for path, inner in _types_in(kind):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for name in inner.model_fields:
                yield (f"{path}.{name}" if path else name), inner, name


def _types_in(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield a type and all nested types with their paths, each class once."""
    waiting, visited = [("", kind)], set()
    while waiting:
        path, inner = waiting.pop(0)
        if isinstance(inner, str | ForwardRef):
            continue
        if isinstance(inner, type):
            if inner in visited:
                continue
            visited.add(inner)
        yield path, inner
        waiting += [
            (".".join(filter(None, (path, name))), part)
            for name, part in _parts_of(inner)
        ]


def _parts_of(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield the direct parts of a type, with the name of their field."""
    for inside in ("__value__", "__supertype__"):  # of `type X = …` and NewType
        if (inner := getattr(kind, inside, None)) is not None:
            yield "", inner
    yield from (("", part) for part in get_args(kind) if not isinstance(part, str))
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return
    if issubclass(origin, BaseModel):
        for name, info in origin.model_fields.items():
            yield name, info.annotation
    is_named = issubclass(origin, tuple) and hasattr(origin, "_fields")
    if is_named or dataclasses.is_dataclass(origin) or is_typeddict(origin):
        yield from _hints(origin)


def _hints(kind: type) -> Iterator[tuple[str, Any]]:
    try:
        yield from get_type_hints(kind, include_extras=True).items()
    except NameError:  # a name that is defined later; pydantic reports it if necessary
        return
