"""Text as every database can store it, and of a bounded length."""

from __future__ import annotations

from django.conf import settings

RESERVED = "\x00"  # PostgreSQL's text cannot hold it


def clean(text: str) -> str:
    """Return text that every database can hold, cut where it is absurdly long."""
    text = text.replace(RESERVED, "\ufffd").encode(errors="replace").decode()
    if len(text) > (most := settings.MAX_LINE_CHARS):
        return f"{text[:most]}… ({len(text):,} characters in all)"
    return text
