"""Extract JSON from the output of a language model: bare, fenced or surrounded by text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workflows.runtime.errors import InvalidResponse

Answer = TypeVar("Answer", bound=BaseModel)

MAX_REPAIRS = 1  # requests to an agent to repair an invalid response
MAX_PROBLEMS = 8  # reported to an agent that repairs its response
_CODE_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_decoder = json.JSONDecoder()


def find_json(text: str) -> Any:
    """Return the first object or list in a text. Raises InvalidResponse if there is none.

    The whole text is tried first, then fenced blocks, then anything that starts with a brace;
    a list is returned only if there is no object.
    """
    for candidate in _candidates(text):
        try:
            found = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(found, dict | list):
            return found
    found = _find_value(text, "{", dict) or _find_value(text, "[", list)
    if found is None:
        raise InvalidResponse("The response contains no JSON.")
    return found


def parse_answer(text: str, kind: type[Answer]) -> Answer:
    """Parse the response in a text. Raises InvalidResponse with the validation errors."""
    value = find_json(text)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InvalidResponse(problems_of(error)) from error


def invalid_answer(
    agent: str, answer: type[BaseModel], wrong: InvalidResponse
) -> InvalidResponse:
    """Return the error of an answer that is still invalid after its repair."""
    return InvalidResponse(
        f"The agent “{agent}” returned no valid {answer.__name__}, after a second request:"
        f" {wrong}"
    )


def problems_of(error: ValidationError) -> str:
    """Return the validation errors, field by field."""
    problems = error.errors(include_url=False, include_input=False)
    messages = [
        f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}"
        for problem in problems[:MAX_PROBLEMS]
    ]
    if len(problems) > MAX_PROBLEMS:
        messages.append(f"and {len(problems) - MAX_PROBLEMS} more")
    return "; ".join(messages)


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    for fenced in _CODE_FENCE.finditer(text):
        yield fenced[1].strip()


def _find_value(text: str, opening: str, kind: type) -> Any:
    """Return the first value of a type that begins with this brace, None without one."""
    at = text.find(opening)
    while at >= 0:
        try:
            found, _ = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, kind):
            return found
        at = text.find(opening, at + 1)
    return None
