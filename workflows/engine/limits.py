"""Limits of a workflow: how many of its runs are executed at once, and started per minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any, Literal, TypeAlias, cast, get_args
from uuid import UUID

from .author_code import call_contained
from .errors import DefinitionError, ExitRaised, LimitKeyInvalid

WhenFull: TypeAlias = Literal["queue", "refuse", "replace"]
Key: TypeAlias = str | int | UUID | Enum

MAX_KEY_LENGTH = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the runs of a workflow, for each key if there is a function for it."""

    at_once: int | None = None
    """Runs that are executed at once; a run that waits for a person or a timer has no slot."""
    per_minute: int | None = None
    """Runs that start within any 60 seconds."""
    key: Callable[[Any], Key] | None = None
    """Returns the key of a launch from its params: the limits hold for each key separately."""
    when_full: WhenFull = "queue"
    """What a launch above the limits does: wait, be refused, or replace the oldest run."""
    debounce: timedelta | None = None
    """Time from a launch to its start, within which a later launch of its key replaces it."""

    def mistake(self) -> str:
        """Return why the limits cannot be enforced, "" if they can."""
        numbers: dict[str, object] = {
            "at_once": self.at_once,
            "per_minute": self.per_minute,
        }
        wrong = [
            *(
                f"have {name}={value!r}: use a whole number of at least 1."
                for name, value in numbers.items()
                if value is not None and (type(value) is not int or value < 1)
            ),
            *self._wrong_options(),
        ]
        return wrong[0] if wrong else ""

    def _wrong_options(self) -> Iterator[str]:
        key, debounce = cast("object", self.key), cast("object", self.debounce)
        if key is not None and not callable(key):
            yield f"have key={key!r}: use a function of the params."
        if self.when_full not in get_args(WhenFull):
            known = ", ".join(f"“{name}”" for name in get_args(WhenFull))
            yield f"have when_full={self.when_full!r}: use one of {known}."
        is_time = isinstance(debounce, timedelta) and debounce > timedelta(0)
        if debounce is not None and not is_time:
            yield f"have debounce={debounce!r}: use a timedelta above 0."
        is_any = self.at_once is not None or self.per_minute is not None
        if not is_any and debounce is None:
            yield "limit nothing: give at_once, per_minute or debounce."
        if self.when_full == "replace" and self.at_once is None:
            yield "replace runs and have no at_once: give it."
        if self.when_full == "refuse" and not is_any:
            yield "refuse launches and have neither at_once nor per_minute: give one."

    def key_of(self, workflow: str, params: Any) -> str:
        """Return the key of a launch with these typed params, "" without a function for it.

        Raises LimitKeyInvalid for an error or an invalid result of the author's function.
        """
        if self.key is None:
            return ""
        try:
            key = call_contained(partial(self.key, params))
            text = _text_of(key)
        except LimitKeyInvalid:
            raise
        except Exception as error:
            raised = error.__cause__ if isinstance(error, ExitRaised) else error
            problem = f"raised {type(raised).__name__}: {_shown(error)}"
            raise LimitKeyInvalid(workflow, problem) from error
        if text is None:
            raise LimitKeyInvalid(
                workflow,
                f"returned a {type(key).__name__}: a key is a text of 1 to"
                f" {MAX_KEY_LENGTH} characters, a whole number or a UUID",
            )
        return text


def checked_limits(workflow: str, limits: Limits | None) -> Limits | None:
    """Return the limits. Raises DefinitionError for those that cannot be enforced."""
    if limits is not None and (mistake := limits.mistake()):
        raise DefinitionError(f"Workflow “{workflow}”: its limits {mistake}")
    return limits


def _text_of(key: object) -> str | None:
    """Return a key as it is stored, None for an object that is none."""
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, bool) or not isinstance(key, str | int | UUID):
        return None
    text = str.__str__(key) if isinstance(key, str) else str(key)
    is_stored = text.isprintable() and 0 < len(text) <= MAX_KEY_LENGTH
    return text if is_stored else None


def _shown(error: Exception) -> str:
    """Return the text of an error whose own text may fail."""
    try:
        text = call_contained(partial(str, error))
    except Exception:
        return "an error without a text"
    return text[:MAX_KEY_LENGTH]
