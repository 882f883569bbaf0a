"""Tokens, attempts and time of one call; tokens are estimated if not reported."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

CHARACTERS_PER_TOKEN = 4  # estimate for English text


@dataclass(slots=True)
class CallUsage:
    """The usage of one call, valid whether or not it succeeds."""

    tokens_in: int = 0
    tokens_out: int = 0
    is_estimated: bool = False
    tries: int = 0
    traceparent: str = ""  # header of the requests; "" = none
    began: float = field(default_factory=time.monotonic)

    def count(self, reported: Any, *, input_chars: int, output_chars: int) -> None:
        """Store the reported token counts, or estimate them from the characters."""
        given_in = getattr(reported, "prompt_tokens", None)
        given_out = getattr(reported, "completion_tokens", 0)
        if isinstance(given_in, int):
            self.tokens_in = given_in
            self.tokens_out = given_out if isinstance(given_out, int) else 0
            self.is_estimated = False
            return
        self.tokens_in = -(-input_chars // CHARACTERS_PER_TOKEN)
        self.tokens_out = -(-output_chars // CHARACTERS_PER_TOKEN)
        self.is_estimated = True

    @property
    def milliseconds(self) -> float:
        """Return the milliseconds since the call began."""
        return (time.monotonic() - self.began) * 1_000
