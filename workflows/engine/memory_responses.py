"""Responses to the approvals of a run in memory, by the rules of a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from .clock import Clock
from .context import Answer
from .errors import Paused, ResponseRefused
from .round_trip import plain
from .votes import is_veto

SOMEONE: Final = "someone"  # another person each time


class Responses:
    """Who launched a run, and who responded to its previous approval."""

    def __init__(self, launcher: str, clock: Clock) -> None:
        self._launcher = launcher  # "": unknown
        self._clock = clock
        self._previous: frozenset[str] = frozenset()

    def accept(self, pause: Paused, given: Any) -> Answer | None:
        """Return the answer to an approval, None if votes are missing.

        `given` is a response, or a list of them for an approval with `votes=`. Raises
        ResponseRefused for a person who may not respond.
        """
        several = isinstance(given, list | tuple) and pause.votes > 1
        responses = [self.as_answer(one) for one in (given if several else [given])]
        votes = [one for one in responses if not one.expired]
        self._check(pause, votes)
        is_expired = len(votes) < len(responses)
        is_over = is_expired or any(is_veto(pause.veto, one.value) for one in votes)
        if pause.votes > 1 and len(votes) < pause.votes and not is_over:
            return None
        if votes:
            self._previous = frozenset(_known(votes))
        if pause.votes == 1:
            return responses[0]
        last = responses[-1]
        return Answer(at=last.at, expired=is_expired, votes=tuple(votes))

    def as_answer(self, given: Any) -> Answer:
        """Return a value as the response of someone, now."""
        if isinstance(given, Answer):
            return given
        value = plain(given) if isinstance(given, BaseModel) else given
        return Answer(value, by=SOMEONE, at=self._clock.now())

    def _check(self, pause: Paused, votes: list[Answer]) -> None:
        names = _known(votes)
        if pause.not_by == "launcher" and self._launcher in names:
            self._refuse(pause, self._launcher, "launched this run")
        if pause.not_by == "previous" and (both := self._previous & set(names)):
            self._refuse(pause, min(both), "responded to the previous approval")
        for name in names:
            if names.count(name) > 1:
                self._refuse(pause, name, "responded to it already")
        if len(votes) > pause.votes:
            raise ResponseRefused(
                f"“{pause.node}” takes {pause.votes} responses, and {len(votes)} were given."
            )

    @staticmethod
    def _refuse(pause: Paused, name: str, why: str) -> None:
        raise ResponseRefused(
            f"“{pause.node}” does not take a response of {name}, who {why}."
        )


def _known(votes: Iterable[Answer]) -> list[str]:
    return [one.by for one in votes if one.by not in {"", SOMEONE}]
