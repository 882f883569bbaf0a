"""Validation of tool schemas and function arguments."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from workflows.runtime.errors import Invalid, InvalidResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.runtime.conversations import Tool

MAX_PROBLEMS, MAX_CHARACTERS = 4, 200  # of error messages
EMPTY_REGISTRY: Registry[Any] = Registry()  # a remote `$ref` is never fetched


def check_tool_schema(tool: Tool) -> None:
    """Raise Invalid if the parameters of a tool are not a JSON schema."""
    schema = dict(tool.parameters)
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as wrong:
        raise Invalid(
            f"The parameters of the tool “{tool.name}” are not a JSON schema:"
            f" {_shorten(wrong.message)}"
        ) from wrong


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raise InvalidResponse if arguments do not match the tool's schema."""
    schema = dict(tool.parameters)
    validator = validator_for(schema)(schema, registry=EMPTY_REGISTRY)
    try:
        problems = list(islice(validator.iter_errors(dict(arguments)), MAX_PROBLEMS))
    except Unresolvable as missing:
        raise Invalid(
            f"The parameters of the tool “{tool.name}” reference a schema that is not"
            f" there: {missing}"
        ) from missing
    if problems:
        problems_text = "; ".join(
            f"{'.'.join(map(str, one.absolute_path)) or 'the whole'}: {_shorten(one.message)}"
            for one in problems
        )
        raise InvalidResponse(
            f"The model called “{tool.name}” with invalid arguments: {problems_text}"
        )


def _shorten(message: str) -> str:
    return message if len(message) <= MAX_CHARACTERS else f"{message[:MAX_CHARACTERS]}…"
