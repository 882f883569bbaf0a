"""A schedule: clients and faults from a seed, and the check of the invariants."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.db.models import Exists, OuterRef

from tests.chaos import evidence, invariants, ledger
from tests.simulation import messages
from tests.simulation.loop import Process
from tests.simulation.replace import replaced
from tests.simulation.simulated_app.workflows import ANY_NOTICE, NOTICE, addresses
from tests.simulation.world import World
from workflows.audit.verifier import Checker
from workflows.engine.errors import RequestError
from workflows.execution import hourly_counts
from workflows.execution.leases import Overdue
from workflows.execution.worker import Worker
from workflows.infra import outages
from workflows.models import (
    ENDED,
    Approval,
    ApprovalStatus,
    EventMessage,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Run,
)
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = (
    "sequence",
    "items",
    "parent",
    "approval",
    "timer",
    "retries",
    "failing",
    "branches",
    "limited",
    "undo",
    "route",
    "compensated",
    "event",
    "callback",
    "first",
)
EVENTS = {"event": NOTICE, "first": ANY_NOTICE}  # that runs of a kind wait for
# Probabilities of faults. A worker recovers no run for the duration of a lease after a failure
# of its own connection, so that frequent failures hide what follows a recovery.
NETWORK_FAULTS: Mapping[str, float] = {
    "slow": 0.02,
    "cut": 0.03,
    "lost reply": 0.04,
    "message": 0.1,
    "failed start": 0.05,
}
PROCESS_FAULTS: Mapping[str, float] = {
    **NETWORK_FAULTS,
    "cut": 0.0,
    "lost reply": 0.002,
}
LIMIT_SECONDS = 120.0  # after which a run that has not ended is a violation
CRASH_SHARE = 0.4  # of the workers
RESTART_SHARE = 0.8  # of those that crashed
EMBEDDED_SHARE = 0.5  # of the launches, in the process of a worker
PACE = 0.6  # seconds that a node takes at most


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens in a schedule; ranges include both ends."""

    workers: tuple[int, int]
    clients: tuple[int, int]
    client_seconds: float  # in which clients act and faults happen
    disturbance_seconds: float  # of a stopped worker or an outage, at most
    pause_seconds: float  # between two actions of a client, or two faults, at most
    max_callbacks: int  # of a process before it crashes
    has_background: bool  # whether workers count runs and do background tasks


LARGE = Size(
    (2, 3),
    (2, 4),
    6.0,
    disturbance_seconds=8.0,
    pause_seconds=1.0,
    max_callbacks=900,
    has_background=True,
)
SMALL = Size(
    (2, 2),
    (1, 1),
    1.0,
    disturbance_seconds=3.0,
    pause_seconds=0.3,
    max_callbacks=200,
    has_background=False,
)
LARGE_EVERY = 25  # seeds; an odd number, so that both kinds of faults are in them


def size_of(seed: int) -> Size:
    """Return the size of the schedule of a seed."""
    return SMALL if seed % LARGE_EVERY else LARGE


class Schedule:
    """Executes one seed."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.world = World(seed, NETWORK_FAULTS if seed % 2 else PROCESS_FAULTS)
        self._size = size_of(seed)
        self._directory = directory
        self._random = self.world.random
        self._names = itertools.count(1)
        self._workers: dict[Process, Worker] = {}
        self._processes: list[Process] = []  # of workers
        self._launches: dict[UUID, tuple[str, str]] = {}  # kind and order of each run
        self._user: Any = None
        self.runs = self.steps = 0  # in the database at the end

    def execute(self) -> list[str]:
        """Return the violations. The rows of the database are kept."""
        for name in ("ledger", "journal"):
            (self._directory / name).unlink(missing_ok=True)
        loop = self.world.loop
        asyncio.set_event_loop(loop)
        with replaced(self.world, with_background=self._size.has_background):
            self._user = User.objects.create_superuser("simulated")
            self.world.database.install()
            try:
                loop.run_until_complete(self._play())
            finally:
                self.world.database.uninstall()
            violations = self._check()
        loop.close()
        return violations

    # -- execution --------------------------------------------------------------------

    async def _play(self) -> None:
        world = self.world
        for _ in range(self._random.randint(*self._size.workers)):
            self._start_worker()
        web = Process("web")
        clients = [
            world.start(web, self._client)
            for _ in range(self._random.randint(*self._size.clients))
        ]
        disturbance = world.start(Process("faults"), self._disturb)
        await asyncio.gather(*clients, disturbance)
        world.is_calm = True
        for process in self._processes:
            process.crash_at = 0
        if not any(process.is_alive for process in self._processes):
            self._start_worker()
        await world.start(Process("end"), self._wait_for_ends)
        for process, worker in self._workers.items():
            if process.is_alive:
                await world.start(process, lambda worker=worker: worker.drain(5.0))  # type: ignore[misc]

    def _start_worker(self) -> None:
        process = Process(f"worker-{next(self._names)}")
        self._processes.append(process)
        if not self.world.is_calm and self._random.random() < CRASH_SHARE:
            process.crash_at = self._random.randint(1, self._size.max_callbacks)
            process.on_crash = lambda: self._crash(process)

        async def work() -> None:
            worker = Worker(process.name, self._random.randint(1, 4))
            worker._overdue = Overdue(self.world.loop.time, outages.database)  # noqa: SLF001 - bound at import
            self._workers[process] = worker
            await worker.run()

        self.world.start(process, work)

    def _crash(self, process: Process) -> None:
        self.world.crash(process)
        if self._random.random() < RESTART_SHARE:
            delay = self._random.random() * 3
            self.world.loop.call_later(delay, self._start_worker, context=_no_process())

    async def _disturb(self) -> None:
        """Stop workers for a while, and make the database unavailable."""
        until = self.world.loop.time() + self._size.client_seconds
        while self.world.loop.time() < until:
            await self._pause()
            kind = self._random.choice(
                ["stop", "outage" if self.world.seed % 2 else "stop"]
            )
            seconds = self._random.random() * self._size.disturbance_seconds
            running = [
                one for one in self._processes if one.is_alive and not one.is_stopped
            ]
            if kind == "stop" and running:
                await self.world.stop_for(self._random.choice(running), seconds)
            elif kind == "outage":
                self.world.counts["outage"] += 1
                self.world.database.is_away = True
                await asyncio.sleep(seconds)
                self.world.database.is_away = False

    async def _client(self) -> None:
        """Launch runs and operate them."""
        until = self.world.loop.time() + self._size.client_seconds
        mine: list[UUID] = []
        while self.world.loop.time() < until:
            action = self._random.choice(
                ["launch", "launch", "respond", "cancel", "resume"]
            )
            if action == "launch":
                mine.append(await self._launch())
            elif mine and action == "respond":
                await self._answer(self._random.choice(mine))
            elif mine:
                await self._operate(action, self._random.choice(mine))
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * self._size.pause_seconds)

    async def _launch(self) -> UUID:
        order = f"order-{next(self._names)}"
        kind = self._random.choice(KINDS)
        params = {
            "order": order,
            "ledger": str(self._directory / "ledger"),
            "pace": self._random.random() * PACE,
            "rounds": self._random.randint(1, 3),
        }
        run = await self._launched(
            lambda: system.execute(
                f"chaos-{kind}", params, by=self._user, idempotency_key=order
            )
        )
        self._note("launch", run.pk, order=order)
        self._launches[run.pk] = kind, order
        return run.pk

    async def _launched(self, launch: Callable[[], Run]) -> Run:
        """Launch a run, often in the process of a worker, as `manage.py serve` does.

        The worker may claim the run in the same commit. Its process may crash before the
        reply: the run is then launched again, with its idempotency key.
        """
        running = [
            one for one in self._processes if one.is_alive and not one.is_stopped
        ]
        if running and self._random.random() < EMBEDDED_SHARE:
            process = self._random.choice(running)
            work = self.world.start(process, lambda: self.world.database.call(launch))
            while process.is_alive and not work.done():  # noqa: ASYNC110 - set in another process
                await asyncio.sleep(0.01)
            if work.done() and work.exception() is None:
                return work.result()  # type: ignore[no-any-return]
        return await self._until_answered(launch)  # type: ignore[no-any-return]

    async def _answer(self, run_id: UUID) -> None:
        """Do what a run of this kind waits for, or will wait for."""
        kind, order = self._launches[run_id]
        if kind in EVENTS:
            await self._send(run_id, EVENTS[kind], order)
        elif kind == "callback":
            await self._call_back(run_id, order)
        else:
            await self._respond(run_id)

    async def _send(self, run_id: UUID, name: str, order: str) -> None:
        """Send a message; one without a reply is sent again, with its idempotency key."""
        number = f"message-{next(self._names)}"
        await self._until_answered(
            lambda: system.send(
                name,
                order,
                {"number": number},
                by=self._user,
                idempotency_key=number,
            )
        )
        self._note("message", run_id, number=number)

    async def _call_back(self, run_id: UUID, order: str) -> None:
        """Post to the address that a run gave away, if it has done so."""
        token = addresses.get(order)
        if token is None:
            return
        number, sends, reply = f"message-{next(self._names)}", 0, "accepted"
        while True:
            sends += 1
            try:
                await self.world.database.call(
                    lambda: system.receive_callback(token, {"number": number})
                )
                break
            except DatabaseError:
                await asyncio.sleep(0.2)
            except RequestError:  # refused, or accepted before without a reply
                reply = "refused" if sends == 1 else "unknown"
                break
        self._note("message", run_id, number=number, reply=reply)

    async def _respond(self, run_id: UUID) -> None:
        reason = f"answer-{next(self._names)}"
        await self._act(
            "respond",
            run_id,
            lambda: system.respond(
                run_id, {"outcome": "publish"}, by=self._user, comment=reason
            ),
            reason=reason,
            outcome="publish",
        )

    async def _operate(self, action: str, run_id: UUID) -> None:
        """Cancel or resume a run."""
        reason = f"{action}-{next(self._names)}"
        operation = getattr(system, action)
        await self._act(
            action,
            run_id,
            lambda: operation(run_id, by=self._user, reason=reason),
            reason=reason,
        )

    async def _act(
        self, kind: str, run_id: UUID, act: Callable[[], Run], **given: Any
    ) -> None:
        run = await self._until_answered(lambda: Run.objects.get(pk=run_id))
        attempt = run.attempt
        sends, reply = 0, "accepted"
        while True:
            sends += 1
            try:
                await self.world.database.call(act)
                break
            except DatabaseError:
                await asyncio.sleep(0.2)
            except RequestError:  # refused, or accepted before without a reply
                reply = "refused" if sends == 1 else "unknown"
                break
        self._note(kind, run_id, reply=reply, sends=sends, attempt=attempt, **given)

    async def _until_answered(self, function: Callable[[], Any]) -> Any:
        """Call a function until the database replies; return its result."""
        while True:
            with suppress(DatabaseError):
                return await self.world.database.call(function)
            await asyncio.sleep(0.2)

    def _note(self, kind: str, run_id: UUID, **given: Any) -> None:
        line = {"kind": kind, "run": run_id.hex, "reply": "accepted", "sends": 1}
        ledger.append(self._directory / "journal", line | given)

    async def _wait_for_ends(self) -> None:
        limit = self.world.loop.time() + LIMIT_SECONDS
        while self.world.loop.time() < limit:
            waiting, live = await self.world.database.call(_live_runs)
            if not live:
                return
            for run_id in waiting:
                if run_id in self._launches:
                    await self._answer(run_id)
            await asyncio.sleep(1.0)

    # -- checks -----------------------------------------------------------------------

    def digest(self) -> str:
        """Return a summary that is the same whenever the seed is executed."""
        columns = ("workflow_name", "status", "attempt", "sequence", "version")
        rows = [*Run.objects.order_by("pk").values_list(*columns)]
        text = repr((rows, sorted(self.world.counts.items()), self.world.loop.elapsed))
        return hashlib.sha256(text.encode()).hexdigest()

    def _check(self) -> list[str]:
        hourly_counts.count_all()
        with connection.cursor() as cursor:
            found = evidence.read(cursor, self._directory)
        self.runs, self.steps = len(found.rows("run")), len(found.rows("stage"))
        found.findings = [str(finding) for finding in Checker().everything()]
        return [
            f"{finding.name}: {text}"
            for finding in invariants.check(found, messages.INVARIANTS)
            for text in finding.violations
        ]


def _live_runs() -> tuple[list[UUID], bool]:
    """Return the runs that wait for an answer, and whether any run has not ended.

    A run whose message is kept, or was received, gets no second one, which would hide that
    the first was lost.
    """
    approvals = Approval.objects.filter(status=ApprovalStatus.OPEN)
    answered = EventMessage.objects.filter(key=OuterRef("key"), delivered_at=None)
    waits = EventWait.objects.filter(status=EventWaitStatus.OPEN)
    waits = waits.exclude(Exists(answered), kind=EventWaitKind.EVENT)
    waiting = [
        *approvals.values_list("run_id", flat=True),
        *waits.values_list("run_id", flat=True),
    ]
    return waiting, bool(waiting) or Run.objects.exclude(status__in=ENDED).exists()


def _no_process() -> contextvars.Context:
    """Return a context outside of any process."""
    return contextvars.Context()
