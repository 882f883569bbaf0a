"""People who use an installation without a pause: launch, respond, cancel, read, upload."""

from __future__ import annotations

import asyncio
import io
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pypdfium2
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

from bench.live import PASSWORD
from bench.soak.growth import Point

PAUSE_SECONDS: Final = 0.5  # of a person, between two scenarios, on average
ANSWER_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5
RUN_SECONDS: Final = 60.0  # for a run to reach a state
SOCKET_SECONDS: Final = (2.0, 15.0)  # that a page is open
HIDDEN: Final = re.compile(r'name="([\w-]+)"\s+value="([^"]*)"')
HIDDEN_NAMES: Final = {"csrfmiddlewaretoken", "launch-once", "question"}
PAGES: Final = (
    "/",
    "/workflows/",
    "/workflows/soak-steps/",
    "/runs/",
    "/runs/?status=failed",
    "/decisions/",
    "/approvals/",
    "/workers/",
    "/audit/",
    "/documents/",
)
OTHERS: Final = (
    "/agents/",
    "/metrics",
    "/health/ready",
    "/runs/export.csv",
    "/runs/export.json",
    "/runs/?text=soak",
    "/admin/",
    "/admin/workflows/run/",
    "/admin/workflows/auditevent/",
    "/admin/workflows/retention/",
)
PLAIN: Final = ("steps", "items", "parent", "timer", "thread", "failing")


@dataclass
class Books:
    """What the requests of all people came to."""

    began: float = field(default_factory=time.monotonic)
    pages: list[Point] = field(default_factory=list)  # seconds of PAGES
    statuses: Counter[int] = field(default_factory=Counter)  # 0: no response
    failures: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)  # scenarios

    @property
    def requests(self) -> int:
        """The number of requests."""
        return self.statuses.total()


class RequestFailed(Exception):
    """A request had no response, or one with a status of 400 or more; it is in the books."""


class Person:
    """A signed-in browser that does one thing after another."""

    def __init__(self, url: str, books: Books, seed: int) -> None:
        """`url` has no slash at its end."""
        self._url = url
        self._books = books
        self._random = random.Random(seed)  # noqa: S311 - load, no secret
        self._browser = httpx.AsyncClient(
            base_url=url, headers={"Referer": url}, timeout=ANSWER_SECONDS
        )
        self._scenarios: list[tuple[Callable[[], Coroutine[Any, Any, None]], int]] = [
            (self.read_pages, 6),
            (self.read_others, 3),
            (self.launch_plain, 5),
            (self.watch_run, 4),
            (self.watch_list, 2),
            (self.approve, 2),
            (self.cancel, 1),
            (self.upload, 2),
            (self.launch_isolated, 1),
        ]

    async def work(self, is_over: Callable[[], bool]) -> None:
        """Sign in, and do one scenario after another until it is over."""
        async with self._browser:
            while not is_over():
                scenario = self._choose()
                try:
                    await scenario()
                    self._books.done[scenario.__name__] += 1
                except RequestFailed as failed:
                    self._books.failures[str(failed)] += 1
                pause = self._random.expovariate(1 / PAUSE_SECONDS)
                await asyncio.sleep(min(pause, 5 * PAUSE_SECONDS))

    def _choose(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return the next scenario: to sign in, as long as there is no session."""
        if "sessionid" not in self._browser.cookies:
            return self.sign_in
        scenarios = [scenario for scenario, _ in self._scenarios]
        weights = [weight for _, weight in self._scenarios]
        return self._random.choices(scenarios, weights)[0]

    # Scenarios --------------------------------------------------------------------------

    async def read_pages(self) -> None:
        """Read the pages whose latency is measured."""
        for path in PAGES:
            began = time.monotonic()
            await self.get(path)
            now = time.monotonic()
            self._books.pages.append((now - self._books.began, now - began))

    async def read_others(self) -> None:
        """Read two pages for administrators, exports or health checks."""
        for path in self._random.sample(OTHERS, 2):
            await self.get(path)

    async def launch_plain(self) -> None:
        """Launch a run that ends by itself."""
        await self.launch(self._random.choice(PLAIN))

    async def launch_isolated(self) -> None:
        """Launch a run with a node in a child process."""
        await self.launch("isolated")

    async def watch_run(self) -> None:
        """Launch a run, and keep its page open for a while."""
        run = await self.launch(self._random.choice(PLAIN))
        await self.get(f"/runs/{run}/")
        await self.listen(f"/ws/runs/{run}/")

    async def watch_list(self) -> None:
        """Keep the list of runs open for a while."""
        await self.get("/runs/")
        await self.listen("/ws/lists/runs/")

    async def approve(self) -> None:
        """Launch a run with an approval, and respond to it."""
        run = await self.launch("approval")
        await self.wait_for(run, 'name="response-outcome"')
        response = self._random.choice(("publish", "reject"))
        form = {"response-outcome": response, "reason": "soak test"}
        await self.post(f"/runs/{run}/", f"/runs/{run}/respond/", form)

    async def cancel(self) -> None:
        """Launch a run that does not end, and cancel it."""
        run = await self.launch("hanging")
        await self.wait_for(run, 'data-status="running"')
        await self.post(
            f"/runs/{run}/", f"/runs/{run}/cancel/", {"reason": "soak test"}
        )

    async def upload(self) -> None:
        """Upload a document, read its page, and delete it."""
        content = pdf(self._random.uniform(200, 900))
        files = {"file": ("soak.pdf", content, "application/pdf")}
        answer = await self.post("/documents/", "/documents/", {}, files)
        path = answer.headers["Location"]
        await self.get(path)
        await self.get(f"{path}pages/1.png")
        await self.post(path, f"{path}delete/", {"reason": "soak test"})

    # Requests ---------------------------------------------------------------------------

    async def sign_in(self) -> None:
        """Sign in as the admin. Raises RequestFailed."""
        form = {"username": "admin", "password": PASSWORD}
        await self.post("/accounts/login/", "/accounts/login/", form)

    async def launch(self, name: str) -> str:
        """Launch a run; return its id. Raises RequestFailed."""
        path = f"/workflows/soak-{name}/"
        answer = await self.post(path, path, {"rounds": "4"})
        return answer.headers["Location"].rstrip("/").rsplit("/", 1)[1]

    async def wait_for(self, run: str, text: str) -> None:
        """Read the page of a run until it has a text. Raises RequestFailed."""
        until = time.monotonic() + RUN_SECONDS
        while text not in (await self.get(f"/runs/{run}/")).text:
            if time.monotonic() > until:
                raise RequestFailed(f"A run never had {text} on its page.")
            await asyncio.sleep(POLL_SECONDS)

    async def listen(self, path: str) -> None:
        """Open a websocket for a few seconds, and acknowledge its messages."""
        cookies = "; ".join(f"{k}={v}" for k, v in self._browser.cookies.items())
        address = self._url.replace("http", "ws", 1) + path
        headers = {"Cookie": cookies}
        try:
            async with (
                connect(
                    address,
                    origin=Origin(self._url),
                    additional_headers=headers,
                    proxy=None,
                ) as socket,
                asyncio.timeout(self._random.uniform(*SOCKET_SECONDS)),
            ):
                while True:
                    await socket.recv()
                    await socket.send("shown")
        except TimeoutError:
            return  # it was open for long enough
        except (OSError, WebSocketException) as error:
            self._books.statuses[0] += 1
            raise RequestFailed(f"{kind_of(path)}: {error}") from error

    async def get(self, path: str) -> httpx.Response:
        """Return a page. Raises RequestFailed."""
        return await self._ask("GET", path)

    async def post(
        self, page: str, path: str, form: dict[str, str], files: Any = None
    ) -> httpx.Response:
        """Send the form of a page, with its tokens. Raises RequestFailed."""
        found = dict(HIDDEN.findall((await self.get(page)).text))
        tokens = {name: found[name] for name in HIDDEN_NAMES & found.keys()}
        return await self._ask("POST", path, data=tokens | form, files=files)

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = await self._browser.request(method, path, **content)
        except httpx.HTTPError as error:
            self._books.statuses[0] += 1
            raise RequestFailed(f"{method} {kind_of(path)}: {error!r}") from error
        self._books.statuses[answer.status_code] += 1
        is_done = answer.is_redirect if method == "POST" else answer.is_success
        if not is_done:
            status = answer.status_code
            raise RequestFailed(f"{method} {kind_of(path)}: status {status}")
        return answer


def kind_of(path: str) -> str:
    """Return a path without its ids, so that failures can be counted."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", path)


def pdf(width: float) -> bytes:
    """Return a PDF of one empty page; its width, in points, makes the file unique."""
    document = pypdfium2.PdfDocument.new()
    try:
        document.new_page(width, 400)
        content = io.BytesIO()
        document.save(content)
        return content.getvalue()
    finally:
        document.close()


async def use(
    urls: list[str], people: int, is_over: Callable[[], bool], books: Books
) -> None:
    """Let people use the servers, in turn, until it is over."""
    async with asyncio.TaskGroup() as group:
        for number in range(people):
            person = Person(urls[number % len(urls)], books, number)
            group.create_task(person.work(is_over))
