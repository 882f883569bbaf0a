"""Text of a state, for storage and for display, without secrets."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import CheckpointMismatch
from .failures import Failure
from .frozen import Json

if TYPE_CHECKING:
    from .state import State

MAX_VALUE_CHARS = 60  # characters of a value in a repr


def write(state: State) -> str:
    """Return a state with its metadata as compact JSON."""
    whole = {
        "data": dict(state.data),
        "run_id": state.run_id,
        "checkpoint_node": state.checkpoint_node,
        "sequence": state.sequence,
        "timestamp": state.timestamp.isoformat() if state.timestamp else None,
    }
    if state.step_failure is not None:
        whole["failure"] = state.step_failure.to_json()
    return json.dumps(whole, separators=(",", ":"), allow_nan=False)


def read(text: str) -> dict[str, Any]:
    """Return the arguments of `State.from_data`. Raises CheckpointMismatch for any other text."""
    try:
        whole = json.loads(text)
        stamp = whole["timestamp"]
        return {
            "data": whole["data"],
            "run_id": _checked(whole["run_id"], str),
            "checkpoint_node": _checked(whole["checkpoint_node"], str),
            "sequence": _checked(whole["sequence"], int),
            "timestamp": datetime.fromisoformat(stamp) if stamp else None,
            "failure": Failure.from_json(whole.get("failure")),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointMismatch(
            f"This text is no stored state ({type(error).__name__}: {error}). Resume from an"
            " earlier step, or restore it from a backup."
        ) from error


def format_state(state: State) -> str:
    """Return class and content of a state, shortened."""
    items = (f"{key}={_abbreviate(value)}" for key, value in state.data.items())
    return f"{type(state).__qualname__}({', '.join(items)})"


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _abbreviate(value: Json) -> str:
    if isinstance(value, dict | list) and len(value) > MAX_VALUE_CHARS:
        return f"<{len(value)} items>"
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"
