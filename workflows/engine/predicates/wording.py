"""How the result of a condition is told: `condition not met: total 50, needs above 100`.

A reason is the author's text and is recorded as it is. It states values, and does not say
whether the condition holds; that is put before it here, for every page and message.
"""

from __future__ import annotations

from typing import Final

UNCONDITIONAL: Final = frozenset({"", "always", "otherwise"})
"""Names that edges without a condition have in records."""


def condition_label(name: str, reason: str, *, result: bool) -> str:
    """Return whether a condition was met, in words; "" for an edge without one."""
    if name in UNCONDITIONAL:
        return ""
    if not result and reason.startswith(f"{name} raised "):
        return "condition could not be evaluated"
    return "condition met" if result else "condition not met"


def explain(name: str, reason: str, *, result: bool) -> str:
    """Return whether a condition was met, and the author's reason after it."""
    label = condition_label(name, reason, result=result)
    return f"{label}: {reason}" if label and reason else label
