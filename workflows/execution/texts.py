"""Texts and values as every database can hold them, and nobody has to scroll for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from workflows.execution.checkpoints import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE_CHARS = 2_000  # of one value in a decision; a longer one is cut and says so
RESERVED = "\x00"  # PostgreSQL's text cannot hold it


def clean(text: str) -> str:
    """Return text that every database can hold, cut where it is absurdly long."""
    text = text.replace(RESERVED, "\ufffd").encode(errors="replace").decode()
    if len(text) > (most := settings.MAX_LINE_CHARS):
        return f"{text[:most]}… ({len(text):,} characters in all)"
    return text


def shortened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values a predicate read, with long ones cut to a beginning."""
    short = {}
    for name, value in values.items():
        text = dumps(value)
        short[name] = (
            value
            if len(text) <= MAX_VALUE_CHARS
            else {"shortened": text[:MAX_VALUE_CHARS], "characters": len(text)}
        )
    return short
