"""Examples of the content of agent calls."""

from __future__ import annotations

from typing import Any, Final

_message: dict[str, Any] = {
    "role": "user",
    "text": "Which kind of document is this?",
    "tool_calls": "",
    "images": [],
    "cut": "",
}
CALL_SCHEMAS: Final[dict[str, Any]] = {
    "PromptMessage": _message,
    "CallContentOut": {
        "prompt": [_message],
        "messages_left_out": 0,
        "answer": "An order.",
        "answer_cut": "",
        "tool_calls": "",
        "tool_calls_cut": "",
        "problem": "",
    },
}
