"""RenderCache are shared: who asks, who waits, and when one is made anew."""

from __future__ import annotations

import asyncio

import pytest

from workflows.pages.live.render_cache import RenderCache, RenderedRegions


class Studio:
    """Draws, slowly, and counts."""

    def __init__(self) -> None:
        """Start with an empty board."""
        self.begun = 0
        self.at_work = asyncio.Event()
        self.version = 1
        self.gate = asyncio.Event()

    async def draw(self) -> RenderedRegions:
        """Return the version that stands when the drawing begins."""
        self.begun += 1
        self.at_work.set()
        version = self.version
        await self.gate.wait()
        return RenderedRegions({"a": str(version)}, version=version)


async def test_who_asks_during_a_drawing_gets_the_next_one_and_all_the_same() -> None:
    studio, shared = Studio(), RenderCache()
    shared.watch("key")
    first = asyncio.create_task(shared.get("key", studio.draw))
    await studio.at_work.wait()
    later = [asyncio.create_task(shared.get("key", studio.draw)) for _ in range(50)]
    await asyncio.sleep(0)
    studio.version = 2
    studio.gate.set()
    assert (await first).version == 1
    assert {drawing.version for drawing in await asyncio.gather(*later)} == {2}
    assert studio.begun == 2


async def test_who_waits_for_a_version_takes_the_drawing_that_has_it() -> None:
    studio, shared = Studio(), RenderCache()
    studio.gate.set()
    shared.watch("key")
    await shared.get("key", studio.draw)
    assert (await shared.get("key", studio.draw, version=1)).version == 1
    assert studio.begun == 1
    studio.version = 2
    assert (await shared.get("key", studio.draw, version=2)).version == 2
    assert studio.begun == 2


async def test_a_drawing_that_fails_is_tried_again_by_the_next() -> None:
    studio, shared = Studio(), RenderCache()
    studio.gate.set()
    shared.watch("key")

    async def broken() -> RenderedRegions:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError):
        await shared.get("key", broken)
    assert (await shared.get("key", studio.draw)).version == 1
