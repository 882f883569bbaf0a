"""Examples of previews of forks."""

from __future__ import annotations

from typing import Any, Final

_step: dict[str, Any] = {
    "node": "publish",
    "kind": "node",
    "sequence": 4,
    "effects": "Sends an e-mail to the customer.",
}
FORK_SCHEMAS: Final[dict[str, Any]] = {
    "PreviewStepOut": _step,
    "ForkPreviewOut": {
        "shared_steps": 2,
        "starts_at": "ask_reviewer",
        "kept": [
            {"node": "read_pages", "kind": "node", "sequence": 1, "effects": ""},
            {"node": "weigh", "kind": "node", "sequence": 2, "effects": ""},
        ],
        "again": [
            {"node": "ask_reviewer", "kind": "approval", "sequence": 3, "effects": ""},
            _step,
        ],
        "new": [{"node": "reject", "kind": "node", "sequence": None, "effects": ""}],
        "approvals_again": ["ask_reviewer"],
        "children_again": [],
    },
}
