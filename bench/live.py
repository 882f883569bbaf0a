"""How fresh open pages are: `python -m bench.live [--pages 200] [--seconds 30]`.

A real server works on a run whose steps log what time it is; as many sockets as asked for
watch its page, as browsers do. Printed is one JSON line: the milliseconds from the log
line to its HTML at each socket (so the commit and the drawing are in it), over all
sockets and lines. A second line has the size of the page of a run of 5,000 steps, and
the milliseconds the server takes for it.
"""

from __future__ import annotations

import argparse
import asyncio
import http.cookiejar
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

ROOT = Path(__file__).parent.parent
PASSWORD = "a password of this measurement"  # noqa: S105 - of a server that is gone after it
TICK = re.compile(rb"tick (\d+\.\d+)")
STEPS = 5_000
ROUND_SECONDS = 0.5


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-live-") as home,
        served(home) as site,
    ):
        browser = signed_in(site.url)
        run = launched(browser, site.url, int(given.seconds / ROUND_SECONDS) + 30)
        told = asyncio.run(watched(site, run, browser, given.pages, given.seconds))
        print(json.dumps(told))  # noqa: T201 - its output
    with tempfile.TemporaryDirectory(prefix="bench-page-") as home:
        print(json.dumps(long_page(home)))  # noqa: T201 - its output


def percentiles(waits: list[float]) -> dict[str, float]:
    """Return the middle, the slow end and the worst, in milliseconds."""
    ordered = sorted(waits)
    at = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    found = {name: ordered[int(len(ordered) * part)] for name, part in at.items()}
    return {
        name: round(ms, 1) for name, ms in (found | {"max_ms": ordered[-1]}).items()
    }


# The server and its run ---------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A server of this measurement's own."""

    url: str
    process: int

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time of the process, 0 if unknown."""
        stat = Path(f"/proc/{self.process}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(home: str, **settings: str) -> Iterator[Site]:
    """Give a server with these settings that is ready; it is gone at the end."""
    environment = {
        **{name: text for name, text in os.environ.items() if name != "DATABASE_URL"},
        "DATA_DIR": home,
        "WORKFLOW_APPS": "bench.watched",
        "ADMIN_PASSWORD": PASSWORD,
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    command = [sys.executable, "manage.py", "serve", "--prepare", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - our own server
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None  # noqa: S101 - a pipe was requested
            for line in server.stdout:
                if found := re.search(r"ready at (http://\S+)/", line):
                    yield Site(found[1], server.pid)
                    return
            raise SystemExit("The server did not start.")
        finally:
            server.kill()  # the output is discarded


def signed_in(url: str) -> urllib.request.OpenerDirector:
    """Return a browser without a screen, signed in."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    browser.addheaders = [("Referer", url)]
    browser.jar = jar  # type: ignore[attr-defined]  # for the sockets
    answer = posted(
        browser, f"{url}/accounts/login/", username="admin", password=PASSWORD
    )
    if "Sign out" not in answer:
        raise SystemExit("The sign-in was refused.")
    return browser


def posted(browser: urllib.request.OpenerDirector, address: str, **fields: str) -> str:
    """Return the page that follows a form."""
    form = browser.open(address).read().decode()
    tokens = dict(
        re.findall(r'name="(csrfmiddlewaretoken|once)"\s+value="([^"]+)"', form)
    )
    data = urllib.parse.urlencode({**tokens, **fields}).encode()
    with browser.open(address, data) as answer:
        text: str = answer.read().decode()
        browser.last = answer.geturl()  # type: ignore[attr-defined]
        return text


def launched(browser: urllib.request.OpenerDirector, url: str, rounds: int) -> str:
    """Return the id of a new run."""
    fields = {"rounds": str(rounds), "seconds": str(ROUND_SECONDS)}
    posted(browser, f"{url}/workflows/bench-ticking/", **fields)
    address: str = browser.last  # type: ignore[attr-defined]
    return address.rstrip("/").rsplit("/", 1)[1]


# The pages ----------------------------------------------------------------------------------


class Page(WebSocketClientProtocol):  # autobahn has few types
    """An open page: records what it is sent and when, and acknowledges it."""

    waits: list[float] = []  # noqa: RUF012 - of all pages
    received = 0  # bytes, by all pages
    messages = 0
    counts = False
    is_warm = False
    seen: frozenset[bytes] = frozenset()  # lines that were received

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002, N802, N803 - autobahn's signature
        """Note how long each line that is new took to come."""
        now = time.time()
        news = set(TICK.findall(payload)) - self.seen
        self.seen = self.seen | news
        if Page.counts:
            Page.received += len(payload)
            Page.messages += 1
            if self.is_warm:
                Page.waits += [(now - float(tick)) * 1000 for tick in news]
        self.is_warm = True  # its first drawing shows lines from before it came
        self.sendMessage(b"shown")  # type: ignore[no-untyped-call]


async def watched(
    site: Site, run: str, browser: Any, pages: int, seconds: float
) -> dict[str, Any]:
    """Return the latency of lines, and the cost."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.jar)
    host = site.url.removeprefix("http://")
    loop = asyncio.get_running_loop()
    for _ in range(pages):
        factory = WebSocketClientFactory(  # type: ignore[no-untyped-call]
            f"ws://{host}/ws/runs/{run}/", origin=site.url, headers={"Cookie": cookies}
        )
        factory.protocol = Page
        name, _, port = host.partition(":")
        await loop.create_connection(factory, name, int(port))
    await asyncio.sleep(4)  # all have caught up
    Page.counts, used = True, site.cpu_seconds
    await asyncio.sleep(seconds)
    Page.counts = False
    each = pages * seconds
    return {
        "workload": "live",
        "pages": pages,
        "lines": len(Page.waits),
        **percentiles(Page.waits),
        "kb_a_page_and_s": round(Page.received / 1000 / each, 2),
        "messages_a_page_and_s": round(Page.messages / each, 2),
        "server_cpu": round((site.cpu_seconds - used) / seconds, 2),
        "load": round(os.getloadavg()[0], 1),
    }


# A long run ---------------------------------------------------------------------------------


def long_page(home: str) -> dict[str, Any]:
    """Return what the page of a run of 5,000 steps weighs and takes."""
    os.environ |= {"DATA_DIR": home, "DJANGO_SETTINGS_MODULE": "project.settings"}
    os.environ["ALLOWED_HOSTS"] = "testserver"
    os.environ.pop("DATABASE_URL", None)
    import django  # noqa: PLC0415 - after the environment is set

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from bench.long_run import make_long_run  # noqa: PLC0415

    run = make_long_run(STEPS)
    client = Client()
    client.force_login(User.objects.create_user("reader"))
    took = []
    for _ in range(12):
        began = time.perf_counter()
        answer = client.get(f"/runs/{run.pk}/")
        took.append((time.perf_counter() - began) * 1000)
    told = {"workload": "page", "steps": STEPS, "bytes": len(answer.content)}
    return told | {"first_ms": round(took[0], 1), **percentiles(took[1:])}


if __name__ == "__main__":
    main()
