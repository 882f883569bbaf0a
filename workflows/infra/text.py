"""Text that every database can store, of limited length."""

from __future__ import annotations

from django.conf import settings

RESERVED = "\x00"  # PostgreSQL's text cannot hold it


def clean(text: str) -> str:
    """Return text without NUL and lone surrogates, cut at MAX_LINE_CHARS."""
    if not text:
        return text  # most reasons and errors
    text = text.replace(RESERVED, "\ufffd").encode(errors="replace").decode()
    if len(text) > (limit := settings.MAX_LINE_CHARS):
        return f"{text[:limit]}… ({len(text):,} characters in all)"
    return text
