"""A team's installation under load: `python -m bench.team [--webs 2] [--workers 3]`.

PostgreSQL, Redis, web processes and workers. Prints one JSON line: the steps per second of 500
runs of ten steps, then, while such runs are launched without end, the milliseconds from a launch
to its first node and those of the list of runs, requested by a person who is signed in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.apart import latencies
from bench.live import percentiles, signed_in
from bench.processes import STEPS, WARM_UP, many
from bench.soak.installation import installed

if TYPE_CHECKING:
    import urllib.request

LOAD = 50  # runs at once while latency is measured
PAUSE_SECONDS = 0.1  # between two pages


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.team", description=__doc__)
    parser.add_argument("--webs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--launches", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-team-") as home:
        size = {"webs": given.webs, "workers": given.workers}
        apps = "bench.soak,bench.watched"
        with installed(Path(home), sqlite=False, apps=apps, **size) as installation:
            browser = signed_in(installation.urls[0])
            found = asyncio.run(_measured(given.runs, given.launches, browser, size))
    print(json.dumps({"workload": "team", "db": "pg", **size, **found}))  # noqa: T201 - its output


async def _measured(
    runs: int,
    launches: int,
    browser: urllib.request.OpenerDirector,
    size: dict[str, int],
) -> dict[str, Any]:
    await many(WARM_UP * size["workers"])
    begin = time.perf_counter()
    await many(runs)
    steps_per_s = runs * STEPS / (time.perf_counter() - begin)
    load = asyncio.create_task(_load())
    pages = Pages(browser)
    pages.start()
    try:
        waits = await latencies(WARM_UP + launches)
    finally:
        times = await asyncio.to_thread(pages.stop)
        load.cancel()
    return {
        "steps_per_s": round(steps_per_s, 1),
        "launch": percentiles(waits[WARM_UP:]),
        "page": percentiles(times),
    }


async def _load() -> None:
    """Launch runs without end."""
    while True:
        await many(LOAD)


class Pages(threading.Thread):
    """Requests the list of runs again and again, in a thread."""

    def __init__(self, browser: urllib.request.OpenerDirector) -> None:
        super().__init__(daemon=True)
        self._browser = browser
        headers: dict[str, str] = dict(browser.addheaders)
        self._address = f"{headers['Referer']}/runs/"
        self._times: list[float] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(PAUSE_SECONDS):
            begin = time.perf_counter()
            self._browser.open(self._address).read()
            self._times.append((time.perf_counter() - begin) * 1_000)

    def stop(self) -> list[float]:
        """Return the milliseconds of each page."""
        self._stopped.set()
        self.join()
        return self._times


if __name__ == "__main__":
    main()
