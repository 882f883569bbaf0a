"""`project.admission`: which requests are processed, and how the others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from project.admission import Admission, Full, Lane, Lanes
from project.body_limits import BODIES_PER_ADDRESS, FORM_BYTES, Bodies, BodyLimits
from project.limit_settings import OTHER_CONNECTIONS, requests_at_once
from project.refusal_responses import respond
from workflows.pages import middleware

LIMITS = BodyLimits(
    upload_bytes=2_000_000, form_bytes=1_000, unverified_bytes=3_000, grace_seconds=5
)
Part = tuple[bytes, bool]  # of a body, and whether more follows
WHOLE: Part = (b"", False)


@dataclass
class Exchange:
    """A request to the application under test, and the response."""

    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    parts: Iterable[Part] = (WHOLE,)
    sent: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0  # bytes that the server took from the client
    hold: asyncio.Event | None = None  # for parts that do not arrive

    async def through(self, application: Any) -> Exchange:
        """Send the request."""
        pairs = [(n.encode(), v.encode()) for n, v in self.headers.items()]
        scope: dict[str, Any] = {
            "type": "http",
            "path": self.path,
            "method": self.method,
        }
        scope |= {"headers": pairs, "client": ("192.0.2.1", 1)}
        parts = iter(self.parts)

        async def receive() -> dict[str, Any]:
            part = next(parts, None)
            if part is None:
                await (self.hold or asyncio.Event()).wait()
                return {"type": "http.disconnect"}
            self.read += len(part[0])
            return {"type": "http.request", "body": part[0], "more_body": part[1]}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        await application(scope, receive, send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def response_headers(self) -> dict[str, str]:
        pairs = self.sent[0]["headers"]
        return {name.decode().lower(): value.decode() for name, value in pairs}


class Pages:
    """An application whose responses begin when the test allows it."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.go = asyncio.Event()
        self.finish = asyncio.Event()  # of the responses
        self.finish.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the body, wait, respond."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
        self.running.append(scope["path"])
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.finish.wait()
        await send({"type": "http.response.body", "body": b"page"})


Admit = Callable[..., Admission]


@pytest.fixture
async def pages() -> Pages:
    return Pages()


@pytest.fixture
async def admit(pages: Pages) -> Admit:
    """Give a function that puts admission before the pages: one at once, one waiting."""

    def build(*, signed_in: bool = False, limits: BodyLimits = LIMITS) -> Admission:
        async def is_signed_in(_scope: object) -> bool:
            return signed_in

        lanes = Lanes(
            pages=Lane(1, queue=1, seconds=60),
            files=Lane(1, queue=1, seconds=60),
            checks=Lane(1, queue=1, seconds=60),
            files_prefix="/static/",
        )
        return Admission(pages, lanes, Bodies(limits, is_signed_in), respond)

    return build


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0)


def start(work: Awaitable[Exchange]) -> asyncio.Task[Exchange]:
    return asyncio.ensure_future(work)


async def test_a_request_over_the_limit_is_refused_immediately_without_a_database_error(
    pages: Pages, admit: Admit
) -> None:
    application = admit()
    first = start(Exchange("/first").through(application))
    await until(lambda: pages.running == ["/first"])
    queued = start(Exchange("/queued").through(application))
    await asyncio.sleep(0)
    refused = await Exchange("/third").through(application)
    assert refused.status == 503
    assert refused.response_headers["retry-after"] == "5"
    assert "The server is processing too many requests" in refused.text
    assert "This page retries every 5 seconds." in refused.text
    assert "atabase" not in refused.text
    assert refused.response_headers["content-security-policy"]
    pages.go.set()
    assert [(await one).status for one in (first, queued)] == [200, 200]
    assert pages.running == ["/first", "/queued"]


async def test_a_refused_form_is_not_repeated_by_the_page(
    pages: Pages, admit: Admit
) -> None:
    application = admit()
    waiting = [start(Exchange().through(application)) for _ in range(2)]
    await until(lambda: len(pages.running) == 1)
    for headers, wanted in (
        ({}, "<h1>Server busy</h1>"),
        ({"accept": "application/json"}, '"code": "busy"'),
        ({"hx-request": "true"}, "Nothing was changed."),
    ):
        refused = await Exchange(method="POST", headers=headers).through(application)
        assert refused.status == 503
        assert wanted in refused.text
        assert "retries" not in refused.text
    pages.go.set()
    await asyncio.gather(*waiting)


async def test_liveness_files_and_checks_do_not_wait_for_pages(
    pages: Pages, admit: Admit
) -> None:
    application = admit()
    waiting = [start(Exchange().through(application)) for _ in range(2)]
    await until(lambda: len(pages.running) == 1)
    live = await Exchange("/health/live").through(application)
    assert (live.status, live.text) == (200, '{"status": "ok"}')
    assert len(pages.running) == 1, "it did not reach the application"
    others = [
        start(Exchange(path).through(application))
        for path in ("/static/css/app.css", "/health/ready")
    ]
    await until(lambda: len(pages.running) == 3)
    pages.go.set()
    await asyncio.gather(*waiting, *others)


async def test_a_slow_reader_occupies_no_slot(pages: Pages, admit: Admit) -> None:
    application = admit()
    pages.go.set()
    pages.finish.clear()
    slow = start(Exchange("/slow").through(application))
    await until(lambda: pages.running == ["/slow"])
    other = start(Exchange("/other").through(application))
    await until(lambda: pages.running == ["/slow", "/other"])
    assert not slow.done()
    pages.finish.set()
    await asyncio.gather(slow, other)


async def test_a_slow_sender_occupies_no_slot(pages: Pages, admit: Admit) -> None:
    application = admit()
    pages.go.set()
    hold = asyncio.Event()
    slow = start(
        Exchange("/slow", "POST", parts=[(b"a", True)], hold=hold).through(application)
    )
    await asyncio.sleep(0)
    assert (await Exchange("/other").through(application)).status == 200
    assert pages.running == ["/other"]
    hold.set()
    await slow


async def test_a_body_that_does_not_arrive_in_time_is_refused(
    pages: Pages, admit: Admit
) -> None:
    application = admit(limits=BodyLimits(10, 10, grace_seconds=0.01))
    refused = await Exchange(method="POST", parts=[(b"a", True)]).through(application)
    assert refused.status == 408
    assert "did not arrive in time" in refused.text
    assert refused.response_headers["connection"] == "close"
    assert pages.running == []


async def test_a_large_body_needs_a_session(pages: Pages, admit: Admit) -> None:
    parts = [(b"x" * 800, True), (b"x" * 800, True), (b"x" * 800, False)]
    refused = await Exchange(method="POST", parts=parts).through(admit())
    assert refused.status == 401
    assert "Sign in, then send the file again." in refused.text
    assert refused.read == 2_400, "the browser sends everything before it shows this"
    assert pages.running == []
    pages.go.set()
    accepted = Exchange(method="POST", parts=parts)
    assert (await accepted.through(admit(signed_in=True))).status == 200


async def test_the_announced_size_is_checked_before_reading(
    pages: Pages, admit: Admit
) -> None:
    announced = {"content-length": str(LIMITS.upload_bytes + FORM_BYTES + 1)}
    refused = await Exchange(
        method="POST", headers=announced, parts=[(b"x", True), (b"x", False)]
    ).through(admit(signed_in=True))
    assert refused.status == 413
    assert "Files may have up to 2 MB, and this one is larger." in refused.text
    assert pages.running == []


async def test_bodies_without_a_session_have_a_limit_together(
    pages: Pages, admit: Admit
) -> None:
    application = admit()
    hold = asyncio.Event()
    forms = [
        start(
            Exchange(method="POST", parts=[(b"x" * 900, True)], hold=hold).through(
                application
            )
        )
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    refused = await Exchange(method="POST", parts=[(b"x" * 900, False)]).through(
        application
    )
    assert refused.status == 503
    hold.set()
    await asyncio.gather(*forms)
    pages.go.set()
    accepted = Exchange(method="POST", parts=[(b"x" * 900, False)])
    assert (await accepted.through(application)).status == 200


async def test_an_address_can_send_only_some_bodies_at_once(
    pages: Pages, admit: Admit
) -> None:
    application = admit()
    hold = asyncio.Event()
    slow = [
        start(
            Exchange(method="POST", parts=[(b"", True)], hold=hold).through(application)
        )
        for _ in range(BODIES_PER_ADDRESS)
    ]
    await asyncio.sleep(0)
    parts = [(b"x", True), (b"x", False)]
    refused = await Exchange(method="POST", parts=parts).through(application)
    assert refused.status == 503
    hold.set()
    await asyncio.gather(*slow)
    pages.go.set()
    assert (await Exchange(method="POST", parts=parts).through(application)).status == (
        200
    )


async def test_no_request_waits_in_a_lane_beyond_its_timeout() -> None:
    lane = Lane(1, queue=5, seconds=0.01)
    await lane.enter()
    with pytest.raises(Full):
        await lane.enter()
    lane.leave()
    await lane.enter()


def test_requests_at_once_leave_connections_for_everything_else() -> None:
    assert requests_at_once(8, 20) == 8
    assert requests_at_once(30, 20) == 20 - OTHER_CONNECTIONS
    assert requests_at_once(8, 5) == 1
    assert requests_at_once(8, 0) == 8, "without a pool"


def test_the_database_connection_is_released_before_the_response_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    monkeypatch.setattr(
        middleware, "close_old_connections", lambda: calls.append("released")
    )

    def view(_request: object) -> HttpResponse:
        calls.append("rendered")
        return HttpResponse()

    middleware.release_connection(view)(AsyncRequestFactory().get("/"))
    assert calls == ["rendered", "released"]
