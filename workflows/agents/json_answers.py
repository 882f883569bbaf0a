"""JSON in what a language model wrote: bare, fenced, or with words around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workflows.runtime.errors import BadAnswer

Answer = TypeVar("Answer", bound=BaseModel)

MAX_PROBLEMS = 8  # told to an agent that is asked to put them right
_CODE_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_decoder = json.JSONDecoder()


def find_json(text: str) -> Any:
    """Return the first object or list in a text. Raises BadAnswer: there is none.

    The text itself counts first, then what stands in a fence, then what begins with a
    brace anywhere; a list is taken only where no object is.
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
        raise BadAnswer("The answer holds no JSON.")
    return found


def parse_answer(text: str, kind: type[Answer]) -> Answer:
    """Return the answer in a text. Raises BadAnswer with what does not fit, in words."""
    value = find_json(text)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise BadAnswer(problems_of(error)) from error


def problems_of(error: ValidationError) -> str:
    """Return what does not fit, field by field."""
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
    """Return the first value of a kind that begins with this brace, None without one."""
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
