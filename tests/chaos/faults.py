"""Injects the faults of a schedule, and ends them."""

from __future__ import annotations

import heapq
import itertools
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.chaos import evidence, ledger
from tests.chaos.schedule import OWN_SERVER, Fault

if TYPE_CHECKING:
    from tests.chaos.clients import Books
    from tests.chaos.installation import Services
    from tests.chaos.server import Server

End = Callable[[], None]
WRITES_REFUSED: Final = frozenset({"read only", "fill disk"})


@dataclass
class Faults:
    """Breaks an installation, and repairs it."""

    services: Services
    books: Books
    notice_seconds: float  # in which workers notice the rewind of the database
    server: Server | None = None  # if it may be broken
    refused_writes: bool = False  # at some time
    _broken: set[str] = field(default_factory=set)  # servers

    def follow(self, faults: Sequence[Fault], begin: float) -> None:
        """Start and end each fault at its time; `begin` is on the monotonic clock."""
        number = itertools.count()  # of two at the same time the first comes first
        queue: list[tuple[float, int, Fault | End]] = []
        for fault in faults:
            heapq.heappush(queue, (fault.at, next(number), fault))
        while queue:
            at, _, what = heapq.heappop(queue)
            time.sleep(max(0.0, begin + at - time.monotonic()))
            if not isinstance(what, Fault):
                what()
            elif end := self.begin(what):
                heapq.heappush(queue, (at + what.seconds, next(number), end))

    def begin(self, fault: Fault) -> End | None:
        """Start a fault; return the function that ends it, or None."""
        if fault.what in OWN_SERVER:
            return self._break_server(fault)
        if fault.what in {"flush", "restart redis"}:
            return self._break_redis(fault)
        if fault.what in {"kill", "pause", "step clock"}:
            return self._break_process(fault)
        return self._break_route(fault)

    def _break_process(self, fault: Fault) -> End | None:
        process = self.services.processes[fault.process]
        if fault.what == "step clock":
            process.clock.write_text(str(fault.amount))
            return None
        if fault.what == "kill":
            process.signal(signal.SIGKILL)
            return None
        process.signal(signal.SIGSTOP)
        return lambda: process.signal(signal.SIGCONT)

    def _break_route(self, fault: Fault) -> End | None:
        proxy, name = self.services.proxy, f"{fault.process} {fault.service}"
        begins: dict[str, End] = {
            "cut": lambda: proxy.cut(name),
            "refuse": lambda: proxy.refuse(name),
            "silence": lambda: proxy.silence(name),
            "silence replies": lambda: proxy.silence(name, up=False),
            "delay": lambda: proxy.delay(name, fault.amount),
            "throttle": lambda: proxy.throttle(name, fault.amount),
            "swallow": lambda: proxy.swallow(name, int(fault.amount)),
        }
        begins[fault.what]()
        return lambda: proxy.heal(name)

    def _break_redis(self, fault: Fault) -> End | None:
        redis = self.services.redis
        if fault.what == "restart redis":
            return self._alone("redis", redis.stop, redis.start)
        if redis.is_running:
            redis.flush()
        return None

    def _break_server(self, fault: Fault) -> End | None:
        server = self.server
        if server is None:
            raise ValueError(f"“{fault.what}” needs a PostgreSQL server of its own.")
        begins: dict[str, tuple[End, End]] = {
            "restart postgres": (server.stop, server.start),
            "read only": (server.refuse_writes, server.accept_writes),
            "fill disk": (server.fill_disk, server.free_disk),
            "roll back": (self._copy, self._roll_back),
        }
        if fault.what in WRITES_REFUSED:
            self.refused_writes = True
        return self._alone("postgres", *begins[fault.what])

    def _copy(self) -> None:
        """Copy the database; later commits will be lost."""
        assert self.server is not None
        self._mark(evidence.COPIED)
        self.server.copy()

    def _roll_back(self) -> None:
        """Restore the copy; mark the time by which all workers have detected it."""
        assert self.server is not None
        self.server.roll_back()
        timer = threading.Timer(self.notice_seconds, self._mark, [evidence.NOTICED])
        timer.daemon = True
        timer.start()

    def _mark(self, kind: str) -> None:
        """Record the length of the ledger in the journal."""
        self.books.note(kind, executions=len(ledger.lines(self.books.ledger)))

    def _alone(self, server: str, begin: End, end: End) -> End | None:
        """Start a fault of a server, unless it has one."""
        if server in self._broken:
            return None

        def repair() -> None:
            end()
            self._broken.discard(server)

        self._broken.add(server)
        begin()
        return repair
