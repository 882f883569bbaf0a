"""Clients that launch, respond, cancel, resume and watch, and log the responses they get.

A request without a reply is repeated, as a person would do: to the other web process, with
the same form. Every request is in the journal, whatever its outcome.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tests.chaos import ledger
from tests.crash.visitor import Refused, Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.schedule import Request
    from tests.crash.visitor import Answer, Socket

ANSWER_SECONDS: Final = 25.0  # in which a request is repeated
AGAIN_SECONDS: Final = 0.2
MAX_BULK: Final = 5  # runs of one bulk operation
FLOOD_MESSAGES: Final = 2_000
ACCEPTED, REFUSED, NONE = "accepted", "refused", "none"
TRY_AGAIN: Final = frozenset({502, 503, 504})
STATUS: Final = re.compile(r'id="run-status"[^>]*?data-status="(\w+)"')
STEP: Final = re.compile(
    r'<li class="step" id="[^"]*" data-status="completed">'
    r'.{0,600}?<span class="step-number">(\d+)</span>',
    re.DOTALL,
)


class Books:
    """The journal, and queries of runs for the clients."""

    def __init__(self, directory: Path, ask: Callable[[str], Sequence[Any]]) -> None:
        """`ask` returns the rows of a query."""
        self.ledger = directory / "ledger"
        self._journal = directory / "journal"
        self._ask = ask
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}

    def name(self, kind: str) -> str:
        """Return a unique name."""
        with self._lock:
            number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}-{number}"

    def note(self, kind: str, **line: Any) -> None:
        """Append to the journal."""
        ledger.append(self._journal, {"kind": kind, **line})

    def runs(self, condition: str) -> list[tuple[str, int]]:
        """Return ids and attempts of runs; none while the database is unavailable."""
        query = "SELECT id, attempt FROM workflows_run WHERE"
        try:
            rows = self._ask(f"{query} {condition} ORDER BY id")
        except psycopg.Error:
            return []
        return [(str(run_id), attempt) for run_id, attempt in rows]


@dataclass
class Reply:
    """The outcome of a request that was repeated until a response arrived."""

    sends: int = 0
    answer: Answer | None = None

    @property
    def kind(self) -> str:
        """The outcome as the journal has it."""
        if self.answer is None:
            return NONE
        return ACCEPTED if self.answer.status == http.client.FOUND else REFUSED


class Client:
    """A user with a connection to each web process."""

    def __init__(self, visitors: Sequence[Visitor], books: Books, pace: float) -> None:
        self._visitors = visitors
        self._books = books
        self._pace = pace
        self._turn = 0
        self._token = ""
        self._ending = threading.Event()
        self.watchers: list[Watcher] = []

    def sign_in(self) -> None:
        """Read the CSRF token."""
        self._token = self._visitors[0].form_of("/workflows/chaos-timer/")[
            "csrfmiddlewaretoken"
        ]

    def close(self) -> None:
        """Close the connections."""
        for visitor in self._visitors:
            visitor.close()

    def follow(self, requests: Sequence[Request], begin: float) -> None:
        """Send each request at its time; `begin` is on the monotonic clock."""
        for request in requests:
            self._ending.wait(max(0.0, begin + request.at - time.monotonic()))
            action = getattr(self, f"_{request.action}")
            try:
                action(request)
            except Exception as error:
                self._books.note("client failed", text=f"{request}: {error!r}")

    # -- requests ---------------------------------------------------------------------

    def _ask(self, path: str, send: Callable[[Visitor], Answer]) -> Reply:
        """Repeat a request until a response arrives, to each process in turn."""
        reply = Reply()
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            visitor = self._visitors[self._turn % len(self._visitors)]
            self._turn += 1
            reply.sends += 1
            with suppress(http.client.HTTPException, OSError):
                answer = send(visitor)
                self._books.note("answer of server", path=path, status=answer.status)
                if answer.status not in TRY_AGAIN:
                    reply.answer = answer
                    return reply
            self._ending.wait(AGAIN_SECONDS)
        return reply

    def _post(self, path: str, form: Mapping[str, Any]) -> Reply:
        given = {"csrfmiddlewaretoken": self._token, **form}
        return self._ask(path, lambda visitor: visitor.send(path, given))

    def _choose(
        self, request: Request, condition: str
    ) -> tuple[str, int] | tuple[None, int]:
        """Return the id and the attempt of one of the runs, None if there is none."""
        found = self._books.runs(condition)
        return found[int(request.choice * len(found))] if found else (None, 0)

    def _launch(self, request: Request) -> None:
        path = f"/workflows/chaos-{request.workflow}/"
        page = self._ask(path, lambda visitor: visitor.get(path)).answer
        if page is None or page.status != http.client.OK:
            return
        order = self._books.name("order")
        (once,) = re.findall(r'name="launch-once"\s+value="([^"]*)"', page.text)
        form = {
            "launch-once": once,
            "order": order,
            "ledger": str(self._books.ledger),
            "pace": str(self._pace),
            "rounds": "2",
        }
        reply = self._post(path, form)
        run = None
        if reply.kind == ACCEPTED and reply.answer is not None:
            run = reply.answer.headers["Location"].strip("/").split("/")[-1]
            run = run.replace("-", "")
        self._books.note(
            "launch", order=order, run=run, sends=reply.sends, reply=reply.kind
        )

    def _act(self, action: str, run: str, path: str, **line: Any) -> None:
        """Submit the form of an action on a run, and record the outcome."""
        reason = self._books.name(action)
        form = {"reason": reason, **line.pop("form", {})}
        reply = self._post(f"/runs/{run}/{path}/", form)
        self._books.note(
            action,
            run=run.replace("-", ""),
            reason=reason,
            sends=reply.sends,
            reply=reply.kind,
            **line,
        )

    def _respond(self, request: Request) -> None:
        run, _ = self._choose(request, "waiting_for = 'approval'")
        if run is not None:
            form = {"response-outcome": request.outcome}
            self._act("respond", run, "respond", outcome=request.outcome, form=form)

    def _cancel(self, request: Request) -> None:
        live = "status IN ('pending', 'running', 'waiting')"
        run, _ = self._choose(request, live)
        if run is not None:
            self._act("cancel", run, "cancel")

    def _resume(self, request: Request) -> None:
        run, attempt = self._choose(request, "status IN ('failed', 'cancelled')")
        if run is not None:
            self._act("resume", run, "resume", attempt=attempt)

    def _bulk(self, request: Request) -> None:
        """Cancel or resume several runs; sent once, because each form is an operation."""
        action = "resume" if request.outcome == "publish" else "cancel"
        runs = [run for run, _ in self._books.runs("parent_id IS NULL")]
        place = int(request.choice * len(runs))
        chosen = runs[place : place + MAX_BULK]
        if not chosen:
            return
        reason = self._books.name("bulk")
        form = {
            "csrfmiddlewaretoken": self._token,
            "do": action,
            "run": chosen,
            "reason": reason,
            "confirmed": "1",
        }
        reply = Reply(sends=1)
        with suppress(http.client.HTTPException, OSError):
            reply.answer = self._visitors[0].send("/runs/bulk/", form)
        self._books.note("bulk", reason=reason, reply=reply.kind, sends=1)

    # -- sockets ----------------------------------------------------------------------

    def _watch(self, request: Request) -> None:
        run, _ = self._choose(request, "TRUE")
        if run is not None:
            watcher = Watcher(self._visitors, run, self._turn)
            self._turn += 1
            self.watchers.append(watcher)
            watcher.start()

    def _flood(self, request: Request) -> None:
        """Request views of a run faster than they can be rendered."""
        run, _ = self._choose(request, "TRUE")
        if run is None:
            return
        visitor = self._visitors[self._turn % len(self._visitors)]
        with (
            suppress(Refused, OSError),
            visitor.open_socket(f"/ws/runs/{run}/") as page,
        ):
            for number in range(FLOOD_MESSAGES):
                page.say(f"see at={number % 3}")
            page.say("x" * 200_000)


@dataclass
class Watcher:
    """An open page of a run that reconnects when its websocket is closed."""

    visitors: Sequence[Visitor]
    run: str
    turn: int
    statuses: list[str] = field(default_factory=list)
    steps: set[int] = field(default_factory=set)
    _socket: Socket | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Open the page."""
        self._thread = threading.Thread(target=self._stay, name=f"watch {self.run}")
        self._thread.start()

    def end(self) -> None:
        """Close the page."""
        self._ending.set()
        if self._socket is not None:
            self._socket.cut()
        self._thread.join()

    @property
    def shown(self) -> str:
        """The status on the page, "" before the first one."""
        return self.statuses[-1] if self.statuses else ""

    def line(self) -> dict[str, Any]:
        """Return the line for the journal."""
        return {
            "run": self.run.replace("-", ""),
            "statuses": self.statuses,
            "steps": sorted(self.steps),
            "stayed": True,
        }

    def _stay(self) -> None:
        while not self._ending.is_set():
            visitor = self.visitors[self.turn % len(self.visitors)]
            self.turn += 1
            with (
                suppress(Refused, OSError),
                visitor.open_socket(f"/ws/runs/{self.run}/") as page,
            ):
                self._socket = page
                while isinstance(text := page.next(), str):
                    self._see(text)
            self._ending.wait(AGAIN_SECONDS)

    def _see(self, text: str) -> None:
        for status in STATUS.findall(text):
            if self.statuses[-1:] != [status]:
                self.statuses.append(status)
        self.steps.update(map(int, STEP.findall(text)))
