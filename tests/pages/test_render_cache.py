"""Concurrent requests share renderings; outdated and failed ones are repeated."""

from __future__ import annotations

import asyncio

import pytest

from workflows.pages.live.render_cache import RenderCache, RenderedRegions


class Renderer:
    """Counts its renderings, which take some time."""

    def __init__(self) -> None:
        self.begun = 0
        self.is_rendering = asyncio.Event()
        self.version = 1
        self.gate = asyncio.Event()

    async def render(self) -> RenderedRegions:
        """Return the version at the start of the rendering."""
        self.begun += 1
        self.is_rendering.set()
        version = self.version
        await self.gate.wait()
        return RenderedRegions({"a": str(version)}, version=version)


async def test_requests_during_a_rendering_share_the_next_one() -> None:
    renderer, shared = Renderer(), RenderCache()
    shared.watch("key")
    first = asyncio.create_task(shared.get("key", renderer.render))
    await renderer.is_rendering.wait()
    later = [asyncio.create_task(shared.get("key", renderer.render)) for _ in range(50)]
    await asyncio.sleep(0)
    renderer.version = 2
    renderer.gate.set()
    assert (await first).version == 1
    assert {rendered.version for rendered in await asyncio.gather(*later)} == {2}
    assert renderer.begun == 2


async def test_a_request_for_a_version_gets_a_rendering_that_has_it() -> None:
    renderer, shared = Renderer(), RenderCache()
    renderer.gate.set()
    shared.watch("key")
    await shared.get("key", renderer.render)
    assert (await shared.get("key", renderer.render, version=1)).version == 1
    assert renderer.begun == 1
    renderer.version = 2
    assert (await shared.get("key", renderer.render, version=2)).version == 2
    assert renderer.begun == 2


async def test_a_failed_rendering_is_repeated_by_the_next_request() -> None:
    renderer, shared = Renderer(), RenderCache()
    renderer.gate.set()
    shared.watch("key")

    async def broken() -> RenderedRegions:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError):
        await shared.get("key", broken)
    assert (await shared.get("key", renderer.render)).version == 1
