"""The result of a condition as text: `condition not met: total 50, needs above 100`.

A reason is the author's text and is recorded unchanged. It contains values, but not whether the
condition is met; this is added here, for every page and message.
"""

from __future__ import annotations

from typing import Final

UNCONDITIONAL: Final = frozenset({"", "always", "otherwise"})
"""Names of edges without a condition in records."""


def condition_label(name: str, reason: str, *, result: bool) -> str:
    """Return whether a condition was met, as text; "" for an edge without a condition."""
    if name in UNCONDITIONAL:
        return ""
    if not result and reason.startswith(f"{name} raised "):
        return "condition could not be evaluated"
    return "condition met" if result else "condition not met"


def explain(name: str, reason: str, *, result: bool) -> str:
    """Return whether a condition was met, followed by the author's reason."""
    label = condition_label(name, reason, result=result)
    return f"{label}: {reason}" if label and reason else label
