"""Reads the text of responses, including streamed ones."""

from __future__ import annotations

import asyncio
from typing import Any


def text_of(answer: Any) -> str:
    """Return the content of a response; a streamed one is read to its end."""
    if not answer.streaming:
        return str(answer.content.decode(errors="replace"))
    if answer.is_async:
        return asyncio.run(_read_stream(answer))
    return b"".join(answer.streaming_content).decode(errors="replace")


async def _read_stream(answer: Any) -> str:
    parts = [part.decode() async for part in answer.streaming_content]
    return "".join(parts)
