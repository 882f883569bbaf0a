"""The end of a process whose settings cannot be used: a sentence for each mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails


class SettingsError(SystemExit):
    """The environment holds settings that cannot be used; the text names them all."""

    def __init__(self, mistakes: Sequence[ErrorDetails]) -> None:
        """Take what pydantic found."""
        lines = "\n".join(f"  {_sentence(mistake)}" for mistake in mistakes)
        super().__init__(
            f"Signalbox did not start, because of its settings:\n{lines}\n"
            "docs/operating.md lists every setting."
        )


def _sentence(mistake: ErrorDetails) -> str:
    """Return a sentence that names the variable, what is wrong and what it holds."""
    name = str(mistake["loc"][0]).upper() if mistake["loc"] else "The environment"
    if mistake["type"] == "value_error":
        return f"{name} {mistake['ctx']['error']}."
    wrong = mistake["msg"].replace("Input should", "it should")
    return f"{name} is {mistake['input']!r}: {wrong}."
