"""What one call took: tokens, tries and time; estimated where nobody counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

CHARACTERS_PER_TOKEN = 4  # of an average English text, when we have to guess


@dataclass(slots=True)
class CallUsage:
    """The meter of one call; read it whether the call succeeded or not."""

    tokens_in: int = 0
    tokens_out: int = 0
    is_estimated: bool = False
    tries: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, reported: Any, *, input_chars: int, output_chars: int) -> None:
        """Take the provider's count, or guess from the characters asked and answered."""
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
        """Return the time since it began."""
        return (time.monotonic() - self.began) * 1_000
