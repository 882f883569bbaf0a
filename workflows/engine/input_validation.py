"""Validation of the input of a run, by users, programs and other workflows, before it is queued.

The result of `check_input` is stored; reading it returns the value that was validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .adapters import codec, schema
from .author_code import call_contained
from .errors import InputInvalid, NotSerialisable, WorkflowError
from .frozen import Json, freeze
from .round_trip import aliases, error_text


def check_input(
    kind: Any, given: Mapping[str, Any], *, what: str = "parameter", of: str = ""
) -> dict[str, Json]:
    """Return input as it is stored, with defaults filled in.

    `kind` is the type of the input, None for any JSON object. Raises InputInvalid with messages
    by field, also for an unknown name (often a misspelling that a default would hide) and for a
    value that would be read back differently.
    """
    values = dict(given)
    if kind is not None:
        values = _by_key(kind, values, what, of)
    try:
        if kind is None:
            return dict(freeze(values))
        encoded, _ = call_contained(partial(codec(kind).encode, values))
    except ValidationError as error:
        raise InputInvalid(messages(error)) from error
    except NotSerialisable as error:
        raise InputInvalid({error.path.partition(".")[0]: [str(error)]}) from error
    except Exception as error:  # raised by an author's validator
        field = codec(kind).failing_key(values) if kind is not None else ""
        why = f"This cannot be checked: {error_text(error)}."
        raise InputInvalid({field: [why]}) from error
    if not isinstance(encoded, Mapping):
        raise InputInvalid({"": [f"A {what} needs a name."]})
    return dict(encoded)


def check_launch(workflow: Any, given: Mapping[str, Any]) -> dict[str, Json]:
    """Return the params of a run as they are stored. Raises InputInvalid.

    Also checks that the initial state can be created from the params.
    """
    params = check_input(workflow.params_type, given, of=workflow.name)
    check = getattr(workflow, "check_start", None)  # not defined by a plain factory
    if check is None:
        return params
    try:
        call_contained(partial(check, params))
    except Exception as error:  # an author's validators may raise anything
        sentence = f"{workflow.name} cannot start with these values: {reason_of(error)}"
        raise InputInvalid({"": [sentence]}) from error
    return params


def reason_of(error: Exception) -> str:
    """Return an error as text; errors of pydantic without documentation links."""
    if isinstance(error, ValidationError):
        return str(InputInvalid(messages(error)))
    return str(error) if isinstance(error, WorkflowError) else error_text(error)


def messages(error: ValidationError) -> dict[str, list[str]]:
    """Return messages by top-level field; the key "" is for the input as a whole."""
    found: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        place = [str(part) for part in problem["loc"]]
        field, inner = (place[0], ".".join(place[1:])) if place else ("", "")
        text = problem["msg"].removeprefix("Value error, ")
        found.setdefault(field, []).append(f"{inner}: {text}" if inner else text)
    return found


def _by_key(kind: Any, values: dict[str, Any], what: str, of: str) -> dict[str, Any]:
    """Return the values under the keys that the type expects.

    A field with an alias may be given by its name. Raises InputInvalid for unknown names and for
    a field that is given twice.
    """
    if not _has_fields(kind):
        _check_known_names(values, schema(kind), what, of)
        return values
    keyed: dict[str, Any] = {}
    origin: dict[str, str] = {}
    wrong: dict[str, list[str]] = {}
    fields = kind.model_fields
    by_key = {key: name for name, info in fields.items() for key in aliases(info)}
    for given, value in values.items():
        name = by_key.get(given) or (given if given in fields else None)
        key = given
        if name is not None and given not in by_key:
            key = _first_key(fields[name], name)
        if name is None and kind.model_config.get("extra") != "allow":
            wrong[given] = [_unknown(given, map(_first, fields.items()), what, of)]
        elif name is not None and origin.setdefault(name, given) != given:
            wrong[given] = [f"“{origin[name]}” and “{given}” are the same {what}."]
        keyed[key] = value
    if wrong:
        raise InputInvalid(wrong)
    return keyed


def _has_fields(kind: Any) -> TypeGuard[type[BaseModel]]:
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return is_model and not kind.__pydantic_root_model__


def _check_known_names(
    values: Mapping[str, Any], described: Mapping[str, Any], what: str, of: str
) -> None:
    """Raise InputInvalid for unknown names of a dataclass or TypedDict, which would drop them."""
    known = described.get("properties")
    if known is None or described.get("additionalProperties"):
        return
    wrong = {
        name: [_unknown(name, known, what, of)] for name in values if name not in known
    }
    if wrong:
        raise InputInvalid(wrong)


def _first(field: tuple[str, FieldInfo]) -> str:
    name, info = field
    return _first_key(info, name)


def _first_key(info: FieldInfo, name: str) -> str:
    """Return the key of a field in messages: its alias if that is a string, else its name."""
    alias = info.validation_alias
    return alias if isinstance(alias, str) else name


def _unknown(name: str, known: Iterable[str], what: str, of: str) -> str:
    listed = ", ".join(known)
    there_is = f"It takes {listed}." if listed else "It takes none."
    return f"{of or 'This'} has no {what} “{name}”. {there_is}"
