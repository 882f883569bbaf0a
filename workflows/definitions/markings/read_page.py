"""Read one page from all sources: text layer, image and vision agent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from pydantic import BaseModel

from workflows.definitions.markings.answers import (
    Detection,
    Filters,
    InvalidAnswer,
    parse_answer,
)
from workflows.definitions.markings.page_reading import (
    PageReading,
    combine_with_scan,
    combine_with_vision,
    read,
    unreadable,
)
from workflows.definitions.markings.scanned import read_scan
from workflows.definitions.markings.vision import read_detection
from workflows.runtime import (
    SCREEN,
    Invalid,
    PromptProfile,
    ProviderError,
    Runtime,
    Unavailable,
)

VISION_DPI = 150
ENHANCED = Filters(brightness=110, contrast=60, saturation=0)
QUESTION = """\
You see one page of a document. Find its security markings: classification banners and
stamps (such as TOP SECRET, SECRET, CONFIDENTIAL, UNCLASSIFIED) with their caveats (such
as NOFORN, ORCON, REL TO USA, GBR), typed, stamped or handwritten, also faded, slanted or
partly missing ones. Report a marking that follows a label with its label, as in
"CAVEATS: NOFORN" or "TERMS: NONE". Do not report words of the running text.

Answer with JSON only:
{"clarity_score": 0..1, how well the page can be read,
 "markings_found": [{"text": as it stands there, completed only where you are sure,
                     "location": "header" or "footer" or "body",
                     "legibility": 0..1, "faded": true or false}],
 "filter_suggestion": null, or {"brightness": 0..200, "contrast": -100..100,
                                "saturation": 0..200} if that would help you}
"""
PROMPTS = {
    "read_page": PromptProfile(prompt=QUESTION, needs="vision", is_optional=True)
}


class PageToRead(BaseModel):
    """A page to read."""

    document: UUID
    page: int  # from 1
    agent: str = ""  # vision agent
    filters: Filters = Filters()  # image adjustments for the agent


async def read_all_sources(
    item: PageToRead, runtime: Runtime, *, enhanced: bool
) -> PageReading:
    """Return the combined reading of the text, the image and the agent."""
    try:
        page = await runtime.documents.page(item.document, item.page)
        reading = await asyncio.to_thread(read, page)
        if page.is_picture or not (page.lines or page.is_blank):
            reading = await add_scan_reading(item, reading, runtime, enhanced=enhanced)
        return await add_vision_reading(item, reading, runtime, enhanced=enhanced)
    except Invalid as error:
        runtime.logger.warning("Page %d cannot be read: %s", item.page, error)
        return unreadable(item.page, str(error))


async def add_scan_reading(
    item: PageToRead, text: PageReading, runtime: Runtime, *, enhanced: bool
) -> PageReading:
    """Return the combined reading of the text and the image of a page.

    If scans cannot be read, the result is the text layer with that reason.
    """
    try:
        variants = await runtime.documents.scan(
            item.document, item.page, enhanced=enhanced
        )
    except Unavailable as unable:
        runtime.logger.warning("Page %d: %s", item.page, unable)
        return text.model_copy(update={"reasons": (*text.reasons, str(unable))})
    scan = await asyncio.to_thread(read_scan, variants)
    return combine_with_scan(text, scan) if text.legibility else scan


async def add_vision_reading(
    item: PageToRead, reading: PageReading, runtime: Runtime, *, enhanced: bool
) -> PageReading:
    """Return the reading with that of an agent, if one was chosen.

    A failed call adds a doubt, because a reading by the agent was requested.
    """
    prompt = runtime.profiles.prompt("read_page", PROMPTS["read_page"])
    agent = prompt.agent or item.agent
    if not agent:
        return reading
    options = replace(
        SCREEN, pages=str(item.page), dpi=VISION_DPI, **item.filters.model_dump()
    )
    (image,) = await runtime.images.render(item.document, options)
    try:
        reply = await runtime.agents.vision(
            agent, prompt.prompt, [image.data], **prompt.options
        )
        detection = parse_answer(reply.text, Detection)
    except (ProviderError, InvalidAnswer) as failed:
        runtime.logger.warning("Page %d: %s", item.page, failed)
        doubt = f"The call to agent “{agent}” failed: {failed}"
        return reading.model_copy(update={"doubts": (*reading.doubts, doubt)})
    vision = read_detection(item.page, detection, enhanced=enhanced)
    return combine_with_vision(reading, vision)
