"""Report invalid settings at startup: one sentence for each mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails


class SettingsError(SystemExit):
    """Some settings are invalid; the text names all of them."""

    def __init__(self, mistakes: Sequence[ErrorDetails]) -> None:
        """Take the errors that pydantic found."""
        lines = "\n".join(f"  {_sentence(mistake)}" for mistake in mistakes)
        super().__init__(
            f"Signalbox did not start, because of its settings:\n{lines}\n"
            "docs/operating.md lists every setting."
        )


def _sentence(mistake: ErrorDetails) -> str:
    """Return a sentence with the variable, the error and the value."""
    name = str(mistake["loc"][0]).upper() if mistake["loc"] else "The environment"
    if mistake["type"] == "value_error":
        return f"{name} {mistake['ctx']['error']}."
    wrong = mistake["msg"].replace("Input should", "it should")
    return f"{name} is {mistake['input']!r}: {wrong}."
