"""Pages and liveness under load: `python -m bench.load [SCENARIO …] [--db sqlite|pg]`.

Each scenario puts load on a server of its own and requests a page and `/health/live`
meanwhile. Printed is a table: milliseconds, and their ratio to the idle server, which is
measured right before each scenario because machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.__main__ import empty_database
from bench.live import PASSWORD, ROOT, Site, served, signed_in
from bench.load_client import ANSWER_SECONDS, Reply, Target, liveness, masked_text
from bench.servers import postgresql

PAGE = "/runs/"
RUNS = 20_000  # in the database, so that lists and exports have work to do
IDLE_REQUESTS = 15
FLOOD_SECONDS = 8.0
DRIP_SECONDS = 20.0
DRIPS = 200
IDLE_CONNECTIONS = 1_000
BODIES, BODY_BYTES = 8, 60_000_000
EXPORTS = 6
SEARCH = "/runs/?text=no-such-text"


@dataclass(frozen=True)
class Result:
    """What one scenario did, and the replies to the page requests meanwhile."""

    pages: list[Reply]
    note: str = ""


def main() -> None:
    """Measure the chosen scenarios and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS])
    parser.add_argument("--db", choices=["sqlite", "pg"], default="sqlite")
    options = parser.parse_args()
    heads = "page p50", "× idle", "p95", "live p50", "max", "× idle", "files"
    _print("scenario", *heads, "statuses", "note")
    for name in options.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="bench-load-") as home:
            settings = _filled(Path(home), options.db)
            with served(home, **settings) as site:
                _print(name, *measure(site, SCENARIOS[name]))


def _print(name: str, *cells: object) -> None:
    print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)  # noqa: T201 - its output


def _filled(home: Path, database: str) -> dict[str, str]:
    """Fill a new database with runs; return the settings of its server."""
    settings = {"LOG_LEVEL": "ERROR"}
    if database == "pg":
        settings["DATABASE_URL"] = empty_database(postgresql(home))
    environment = {
        **os.environ,
        "DATA_DIR": str(home),
        "ADMIN_PASSWORD": PASSWORD,
        **settings,
    }
    fill = ["-m", "bench.history", "--runs", str(RUNS), "--decisions", str(2 * RUNS)]
    for command in (["manage.py", "prepare"], fill):
        subprocess.run(  # noqa: S603 - our own
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return settings


def measure(
    site: Site, scenario: Callable[[Target], Coroutine[Any, Any, Result]]
) -> tuple[object, ...]:
    """Measure the idle server, then the scenario; return the cells of its line."""
    browser = signed_in(site.url)
    cookies = "; ".join(f"{one.name}={one.value}" for one in browser.jar)  # type: ignore[attr-defined]
    target = Target(site.url, cookies)
    asyncio.run(_read_repeatedly(target, IDLE_REQUESTS))  # warm up
    with liveness(site.url) as idle_live:
        idle = asyncio.run(_read_repeatedly(target, IDLE_REQUESTS))
    with liveness(site.url) as live:
        result, files = asyncio.run(_with_open_files(site, scenario(target)))
    idle_page, idle_probe = _median(idle), statistics.median(idle_live) * 1000
    page, worst = _median(result.pages), max(live) * 1000
    statuses = Counter(reply.status for reply in result.pages)
    return (
        round(page),
        round(page / idle_page, 1),
        round(_share(result.pages, 0.95)),
        round(statistics.median(live) * 1000, 1),
        round(worst),
        round(worst / idle_probe, 1),
        files,
        " ".join(f"{n}×{status}" for status, n in sorted(statuses.items())),
        result.note,
    )


def _share(replies: list[Reply], share: float) -> float:
    """Return the quantile of the milliseconds of the pages that were served, or 0."""
    waits = sorted(r.seconds * 1000 for r in replies if r.status == 200)  # noqa: PLR2004 - OK
    return waits[int(len(waits) * share)] if waits else 0.0


def _median(replies: list[Reply]) -> float:
    return _share(replies, 0.5)


async def _with_open_files(site: Site, work: Awaitable[Result]) -> tuple[Result, int]:
    """Await the work; return its result and the most files the server had open."""
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(os.listdir(f"/proc/{site.process}/fd")))  # noqa: PTH208 - a count only
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        return await work, most
    finally:
        watching.cancel()


async def _read_repeatedly(target: Target, times: int) -> list[Reply]:
    return [await target.get(PAGE) for _ in range(times)]


async def _read_during(target: Target, load: Awaitable[Any]) -> tuple[list[Reply], Any]:
    """Request a page again and again until the load has ended."""
    task = asyncio.ensure_future(load)
    pages = []
    while not task.done():
        pages.append(await target.get(PAGE))
        await asyncio.sleep(0.1)
    return pages, await task


# Scenarios ------------------------------------------------------------------------------


async def clients(target: Target, number: int = 10) -> Result:
    """Request a page from so many clients at once, each three times."""

    async def read() -> list[Reply]:
        return await _read_repeatedly(target, 3)

    began = time.perf_counter()
    groups = await asyncio.gather(*(read() for _ in range(number)))
    pages = [reply for group in groups for reply in group]
    refused = [reply for reply in pages if reply.status == 503]  # noqa: PLR2004
    away = sum(b"Database unavailable" in reply.body for reply in refused)
    return Result(
        pages, f"{time.perf_counter() - began:.0f} s; {away} “database unavailable”"
    )


async def flood(target: Target, sockets: int = 1) -> Result:
    """Send websocket messages as fast as the server takes them; reconnect when cut off."""
    until = time.perf_counter() + FLOOD_SECONDS
    burst = masked_text(b"stale") * 500

    async def repeat() -> tuple[int, int]:
        """Return how many messages were sent, on how many connections."""
        sent = connects = 0
        while time.perf_counter() < until:
            with suppress(OSError, EOFError):
                reader, writer = await target.open_socket("/ws/lists/runs/")
                connects += 1
                try:
                    while time.perf_counter() < until and not reader.at_eof():
                        writer.write(burst)
                        await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)
                        sent += 500
                        await asyncio.sleep(0)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.1)
        return sent, connects

    pages, ends = await _read_during(
        target, asyncio.gather(*(repeat() for _ in range(sockets)))
    )
    sent, connects = (sum(column) for column in zip(*ends, strict=True))
    return Result(pages, f"{sent:,} messages, {connects} connections")


async def drip(target: Target, *, head: bytes, piece: bytes) -> Result:
    """Keep many requests open that never become complete."""

    async def one() -> float:
        began = time.perf_counter()
        reader, writer = await target.connect()
        with suppress(OSError):
            writer.write(head)
            while time.perf_counter() - began < DRIP_SECONDS:
                writer.write(piece)
                await writer.drain()
                try:
                    if not await asyncio.wait_for(reader.read(1000), 1):
                        break
                except TimeoutError:
                    continue
        writer.close()
        return time.perf_counter() - began

    drips = asyncio.gather(*(one() for _ in range(DRIPS)))
    pages, ends = await _read_during(target, drips)
    kept = sum(took >= DRIP_SECONDS for took in ends)
    return Result(pages, f"{kept} of {DRIPS} open after {DRIP_SECONDS:g} s")


async def slow_heads(target: Target) -> Result:
    """Send the headers of requests one line a second."""
    return await drip(target, head=b"GET / HTTP/1.1\r\n", piece=b"A: b\r\n")


async def slow_bodies(target: Target) -> Result:
    """Send the bodies of sign-in forms one byte a second."""
    anonymous = Target(target.url, "")
    form = "application/x-www-form-urlencoded"
    head = anonymous.head(
        "/accounts/login/", "POST", Content_Length="100000", Content_Type=form
    )
    return await drip(target, head=head, piece=b"a")


async def idle_connections(target: Target) -> Result:
    """Open connections and send nothing."""
    opened = []
    for _ in range(IDLE_CONNECTIONS):
        with suppress(OSError):
            opened.append((await target.connect())[1])
    pages, _ = await _read_during(target, asyncio.sleep(FLOOD_SECONDS))
    for writer in opened:
        writer.close()
    return Result(pages, f"{len(opened)} connections")


async def anonymous_bodies(target: Target) -> Result:
    """Upload large files without a session."""
    anonymous = Target(target.url, "")

    async def upload() -> int:
        reader, writer = await anonymous.connect()
        size = str(BODY_BYTES)
        writer.write(anonymous.head("/documents/", "POST", Content_Length=size))
        piece = bytes(250_000)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for _ in range(BODY_BYTES // len(piece)):
                    writer.write(piece)
                    await writer.drain()
                return int((await reader.readline()).split()[1])
        except (OSError, IndexError):
            return 0
        finally:
            writer.close()

    uploads = asyncio.gather(*(upload() for _ in range(BODIES)))
    pages, statuses = await _read_during(target, uploads)
    return Result(pages, f"uploads: {dict(Counter(statuses))}")


async def exports(target: Target) -> Result:
    """Export all runs several times at once, and search for a text that none has."""

    async def repeat(path: str) -> Counter[int]:
        found: Counter[int] = Counter()
        until = time.perf_counter() + FLOOD_SECONDS
        while time.perf_counter() < until:
            found[(await target.get(path)).status] += 1
        return found

    paths = [*["/runs/export.csv"] * EXPORTS, *[SEARCH] * 2]
    pages, found = await _read_during(target, asyncio.gather(*map(repeat, paths)))
    return Result(pages, f"exports: {dict(sum(found[:EXPORTS], Counter()))}")


SCENARIOS: dict[str, Callable[[Target], Coroutine[Any, Any, Result]]] = {
    "10 clients": partial(clients, number=10),
    "100 clients": partial(clients, number=100),
    "400 clients": partial(clients, number=400),
    "1 flood": partial(flood, sockets=1),
    "5 floods": partial(flood, sockets=5),
    "slow headers": slow_heads,
    "slow bodies": slow_bodies,
    "idle connections": idle_connections,
    "anonymous bodies": anonymous_bodies,
    "exports": exports,
}


if __name__ == "__main__":
    main()
