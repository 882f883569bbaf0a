"""Rules for API keys that people enter."""

from __future__ import annotations

from typing import Final

INVALID_KEY: Final = (
    "An API key has only ASCII letters, digits and punctuation, without spaces."
    " Copy it again."
)


def is_valid(key: str) -> bool:
    """Return whether a key can be sent in an HTTP header; so can the empty one."""
    return key.isascii() and key.isprintable() and " " not in key
