"""Masks a run's secrets in everything that is recorded: each is replaced by “•••”."""

from __future__ import annotations

import json
from contextvars import ContextVar
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workflows.audit.step_records import StepRecord
    from workflows.engine import Paused

MASK: Final = "•••"
MIN_CHARS: Final = 4  # a shorter secret is not masked: that would garble all texts


class Masker:
    """Replaces the secrets of one run, verbatim, URL-quoted and in JSON texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Ignore values of fewer than MIN_CHARS characters."""
        values = {value for value in secrets if len(value) >= MIN_CHARS}
        plain = {form for value in values for form in _forms(value)}
        self._plain = _longest_first(plain)
        self._in_json = _longest_first({json.dumps(value)[1:-1] for value in plain})

    def add(self, secret: str) -> None:
        """Mask one more secret from now on. Thread-safe."""
        if len(secret) < MIN_CHARS:
            return
        forms = _forms(secret)
        in_json = {json.dumps(form)[1:-1] for form in forms}
        self._plain = _longest_first({*self._plain, *forms})
        self._in_json = _longest_first({*self._in_json, *in_json})

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._plain:
            text = text.replace(secret, MASK)
        return text

    def growing(self, text: str) -> tuple[str, str]:
        """Return a text without the secrets, and the end that may be the begin of a secret.

        What is kept back is to be put before what follows.
        """
        text = self.text(text)
        longest = len(self._plain[0]) if self._plain else 0
        for at in range(max(len(text) - longest + 1, 0), len(text)):
            end = text[at:]
            if any(secret.startswith(end) for secret in self._plain):
                return text[:at], end
        return text, ""

    def json_text(self, text: str) -> str:
        """Return a JSON text, in ASCII, without the secrets."""
        for secret in self._in_json:
            text = text.replace(secret, _MASK_IN_JSON)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets."""
        return json.loads(self.json_text(json.dumps(value)))

    def record(self, record: StepRecord) -> None:
        """Mask the secrets in all rows of a record."""
        if not self._plain:
            return
        _replace(self.text, record.stages, "error")
        _replace(self.text, record.decisions, "reason")
        _replace(self.json_text, record.decisions, "values")
        _replace(self.json_text, record.checkpoints, "data")
        _replace(self.json_text, record.checkpoints, "failure")
        _replace(self.json_text, record.items, "data")
        _replace(self.text, record.item_failures.values(), "error")
        _replace(self.text, record.logs, "message")
        _replace(self.text, record.retries, "error")
        _replace(self.text, [record], "error_message")
        _replace(self.json_text, [record], "result")
        ending = [record.ending] if record.ending else []
        _replace(self.text, ending, "error_message")
        _replace(self.text, ending, "traceback")

    def pause(self, paused: Paused) -> None:
        """Mask the secrets in what an approval shows: question, evidence, filled form."""
        if not self._plain:
            return
        for one in (paused, *paused.parts):
            one.question = self.text(one.question)
            one.show = self.value(dict(one.show))
            one.initial = self.value(one.initial)

    def child(self, paused: Paused) -> bool:
        """Take the secrets out of the params of a child run; return whether any was there."""
        if not self._plain:
            return False
        if paused.children is not None:
            before = paused.children.params
            paused.children.params = [self.value(params) for params in before]
            return paused.children.params != before
        masked = self.value(paused.params)
        is_masked: bool = masked != paused.params
        paused.params = masked
        return is_masked


def _replace(change: Callable[[str], str], rows: Iterable[Any], name: str) -> None:
    """Change one field of each row, where it has a value."""
    for row in rows:
        if value := getattr(row, name):
            setattr(row, name, change(value))


def _forms(value: str) -> set[str]:
    """Return a secret as it is, in URLs, as JSON and as Python's and HTML's quotation."""
    return {
        value,
        *(form(value, safe=safe) for form in (quote, quote_plus) for safe in ("", "/")),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        escape(value),
    }


def _longest_first(secrets: Iterable[str]) -> list[str]:
    return sorted(secrets, key=len, reverse=True)


_MASK_IN_JSON: Final = json.dumps(MASK)[1:-1]

# The masker of the run whose code is running, for its log lines.
OF_RUN: Final[ContextVar[Masker | None]] = ContextVar("masker", default=None)
