"""Performs the script of a case, action by action, and records the answer to each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db import DatabaseError

from tests.engine.traces.ops import World
from tests.lifecycle import forced_rows, page_client
from tests.lifecycle.api_client import events_of, send_to_api
from tests.lifecycle.cases import Action, Case, needs_the_api, recorded_script
from tests.lifecycle.graphs import WORKFLOW, NodeEnvironment, factory_of
from tests.lifecycle.node_gate import NodeGate
from tests.lifecycle.processes import Process, Processes, processes
from tests.lifecycle.snapshot import Row, RunSnapshot, read_snapshot, run_row
from tests.support.workers import ended, until
from workflows.engine.errors import RequestError
from workflows.errors import InvalidStatus, RunNotFound, WorkflowNotFound
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Run, Status, with_current
from workflows.registry import Registry, registry

Result = TypeVar("Result")

CODES: tuple[tuple[type[Exception], str], ...] = (
    (WorkflowNotFound, "workflow_not_registered"),
    (RunNotFound, "not_found"),
    (InvalidStatus, "invalid_status"),
    (Exception, "other"),
)


@dataclass(slots=True)
class Answer:
    """The answer to one action."""

    action: Action
    run_id: UUID
    before: RunSnapshot  # rows of the addressed run before the action
    run_after: RunSnapshot = field(
        default_factory=RunSnapshot
    )  # rows of that run after it
    after: RunSnapshot = field(
        default_factory=RunSnapshot
    )  # rows of the latest run after it
    errors: list[str | None] = field(default_factory=list)
    is_redundant: bool = False  # the requested change was already in progress
    accepted: list[Row] = field(
        default_factory=list
    )  # rows of the runs that a resume accepted
    run: Row | None = None
    stream: list[Row] | None = None
    count: int | None = None
    reached: bool | None = None
    response: page_client.Response | None = None
    listed: page_client.Listed | None = None
    events: list[str] | None = None  # of a run that was launched through the API

    @property
    def error(self) -> str | None:
        """The code of the refusal, or None."""
        return self.errors[0] if self.errors else None


class ScriptPlayer:
    """Performs the actions of a case."""

    def __init__(
        self, case: Case, known_processes: Processes, world: World, gate: NodeGate
    ) -> None:
        self.case = case
        self.processes = known_processes
        self.world = world
        self.gate = gate
        self.answers: list[Answer] = []
        self.run_ids: list[UUID] = []
        self._unknown = uuid4()
        self._read_events: dict[UUID, int] = {}  # number of events read so far, by run
        self._forced: set[UUID] = set()  # pending runs that no process may claim

    async def play(self) -> None:
        """Perform all actions."""
        recorded = recorded_script(self.case)
        for action, wanted in zip(self.case["script"], recorded, strict=True):
            await self.act(action, wanted)

    async def act(self, action: Action, wanted: Mapping[str, Any]) -> Answer:
        """Perform one action; `wanted` is the recorded answer."""
        run_id = self._run_of(action)
        answer = Answer(action, run_id, await self.read(run_id))
        await ACTIONS[action["do"]](self, answer, wanted)
        answer.run_after = await self.read(run_id)
        answer.after = await self.read(self._run_of({}))
        self.answers.append(answer)
        return answer

    async def finish(self) -> dict[UUID, RunSnapshot]:
        """Execute every run to its end, and return the rows of all runs."""
        self._forced.clear()
        for run_id in self.run_ids:
            if (await self.read(run_id)).run is not None:
                await run_in_db(forced_rows.expire_lease, run_id)
                await self.processes[0].start()
                await self.ends(run_id)
        return {run_id: await self.read(run_id) for run_id in self.run_ids}

    async def read(self, run_id: UUID) -> RunSnapshot:
        """Return the rows of a run."""
        return await run_in_db(read_snapshot, run_id)

    def process(self, action: Action) -> Process:
        """Return the process that performs an action."""
        return self.processes[action.get("process", 0)]

    def _run_of(self, action: Action) -> UUID:
        named = action.get("run", -1)
        if named == "unknown" or not self.run_ids:
            return self._unknown
        return self.run_ids[named if isinstance(named, int) else -1]

    async def _call(
        self, answer: Answer, send: Callable[..., Result], *args: Any, **kwargs: Any
    ) -> Result | None:
        """Call System; record a refusal, also one by the database."""
        try:
            result = await run_in_db(send, *args, **kwargs)
        except (RequestError, DatabaseError) as error:
            code = next(code for kind, code in CODES if isinstance(error, kind))
            answer.errors.append(code)
            return None
        answer.errors.append(None)
        return result

    async def _settled(self, run_id: UUID) -> None:
        """Wait until a run has ended, unless no worker executes it."""
        run = await run_in_db(Run.objects.filter(pk=run_id).first)
        is_idle = run is None or forced_rows.is_orphan(run) or run_id in self._forced
        if not is_idle and self.processes.have_workers:
            await self.ends(run_id)

    async def ends(self, run_id: UUID) -> None:
        """Wait for the end of a run without a limit while it makes progress."""
        version = -1
        while True:
            try:
                with self.gate.opened():
                    await ended(run_id)
            except TimeoutError:
                run = await run_in_db(Run.objects.get, pk=run_id)
                if run.version == version:
                    raise
                version = run.version
            else:
                return

    # -- actions ----------------------------------------------------------------------

    async def execute(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Launch a run; the answer has its row at acceptance."""
        action, process = answer.action, self.process(answer.action)
        await process.start()
        run = await self._call(
            answer,
            process.system.execute,
            action.get("name", WORKFLOW),
            action.get("params"),
            token=action.get("token") or "",
        )
        if run is not None:
            self.run_ids.append(run.pk)
            answer.run = run_row(run)

    async def wait(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Wait for the end of the run and return its unread events.

        A late reader (`wait_slow`) gets the same events, because they come from the rows.
        """
        await self._settled(answer.run_id)
        stream = (await self.read(answer.run_id)).stream
        answer.stream = stream[self._read_events.get(answer.run_id, 0) :]
        answer.count = len(answer.stream)
        self._read_events[answer.run_id] = len(stream)

    async def wait_stage(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Wait for a stage of the node in the given status, or for the end of the run."""
        wanted = {"node_name": answer.action["node"]}
        if "status" in answer.action:
            wanted["status"] = answer.action["status"]
        answer.reached = await self._wait_for_stage(answer.run_id, **wanted)

    async def _wait_for_stage(
        self, run_id: UUID, *, after_attempt: int = 0, **wanted: Any
    ) -> bool:
        def exists(run: Run) -> bool:
            stages = with_current(run, run.stages.all())
            return any(
                all(getattr(stage, name) == value for name, value in wanted.items())
                and stage.attempt > after_attempt
                for stage in stages
            )

        starts = wanted.get("status", "started") == "started"
        with self.gate.opened(held=wanted.get("node_name", "") if starts else ""):
            run = await until(run_id, lambda run: exists(run) or run.status in ENDED)
        return await run_in_db(exists, run)

    async def cancel(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Cancel; every cancel after the first is redundant."""
        system = self.process(answer.action).system
        answer.is_redundant = bool(answer.before.run and answer.before.run["stopping"])
        await self._call(answer, system.cancel, answer.run_id, by=None)

    async def resume(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume, and wait for the end; a disconnected caller has no effect on the run."""
        if await self._resume_accepted(answer):
            if "ms" in answer.action:
                await asyncio.sleep(answer.action["ms"] / 1000)
            await self._settled(answer.run_id)
            answer.run = (await self.read(answer.run_id)).run

    async def resume_async(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume, and wait until the run executes a node again."""
        if await self._resume_accepted(answer):
            place = {"status": "started"}
            if "node" in answer.action:
                place["node_name"] = answer.action["node"]
            answer.reached = await self._wait_for_stage(
                answer.run_id, after_attempt=len(answer.before.attempts), **place
            )

    async def _resume_accepted(self, answer: Answer) -> bool:
        """Return whether the run continues."""
        process = self.process(answer.action)
        token = answer.action.get("token") or ""
        if await self._is_released(answer.run_id):
            # A released run needs no resume: the next process claims it.
            answer.errors.append(None)
            answer.is_redundant = True
        else:
            await self._resume(answer, process, token=token)
        if answer.error is None:
            await process.start()
        return answer.error is None

    async def _resume(self, answer: Answer, process: Process, token: str = "") -> None:
        run = await self._call(
            answer, process.system.resume, answer.run_id, by=None, token=token
        )
        if run is not None:
            answer.accepted.append(run_row(run))

    async def _is_released(self, run_id: UUID) -> bool:
        run = await run_in_db(Run.objects.filter(pk=run_id).first)
        waits = run is not None and run.status == Status.PENDING
        return waits and run_id not in self._forced and not self.processes.have_workers

    async def resume_twice(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume from two concurrent callers."""
        process = self.process(answer.action)
        await process.start()
        await asyncio.gather(
            self._resume(answer, process), self._resume(answer, self.processes[1])
        )
        await self._settled(answer.run_id)

    async def delete(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        await self._call(answer, system.delete_run, answer.run_id, by=None)

    async def find(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        run = await self._call(answer, system.find_run, answer.run_id)
        answer.run = run_row(run) if run else None

    async def stages(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        rows = await self._call(answer, lambda: list(system.get_stages(answer.run_id)))
        answer.count = len(rows or ())

    async def shutdown(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        await self.process(answer.action).shut_down()

    async def force_status(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Change the status; stop all workers if the run must stay pending."""
        if answer.action["status"] == Status.PENDING:
            await self.processes.shut_down()
            self._forced.add(answer.run_id)
        await run_in_db(
            forced_rows.force_status, answer.run_id, answer.action["status"]
        )

    async def force_workflow(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        await run_in_db(
            forced_rows.force_workflow, answer.run_id, answer.action["name"]
        )

    async def sleep(self, answer: Answer, wanted: Mapping[str, Any]) -> None:
        """Sleep; then wait for the end if the reference had reached it by then."""
        with self.gate.opened():
            await asyncio.sleep(answer.action["ms"] / 1000)
        run = (wanted.get("db") or {}).get("run") or {}
        if run.get("status") in ENDED:
            await self._settled(answer.run_id)

    async def http(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Send a request to a page or the API; wait for the run that it starts."""
        action = answer.action
        await self.process(action).start()
        path = re.sub(r"<run>|\{(run|id|run_id)\}", str(answer.run_id), action["path"])
        path = re.sub(r"\bunknown\b", str(self._unknown), path)
        method = action.get("method", "GET").upper()
        send = send_to_api if needs_the_api(self.case) else page_client.send
        response = await run_in_db(send, method, path, action.get("body"))
        answer.response = response
        if response.launched:
            self.run_ids.append(UUID(response.launched))
        if response.launched or response.action == "resume":
            await self._settled(self._run_of(action))
        if response.launched and needs_the_api(self.case):
            answer.events = await run_in_db(events_of, response.launched)

    async def list_sql(self, answer: Answer, wanted: Mapping[str, Any]) -> None:
        if not await run_in_db(Run.objects.filter(workflow_name="w").exists):
            await run_in_db(page_client.fill_list)
        answer.listed = await run_in_db(
            page_client.list_page,
            self.process(answer.action).system,
            answer.action["path"],
            wanted.get("sql") or (),
        )


ActionHandler = Callable[[ScriptPlayer, Answer, Mapping[str, Any]], Awaitable[None]]

ACTIONS: dict[str, ActionHandler] = {
    "execute": ScriptPlayer.execute,
    "wait": ScriptPlayer.wait,
    "wait_slow": ScriptPlayer.wait,
    "wait_stage": ScriptPlayer.wait_stage,
    "cancel": ScriptPlayer.cancel,
    "resume": ScriptPlayer.resume,
    "resume_async": ScriptPlayer.resume_async,
    "resume_twice": ScriptPlayer.resume_twice,
    "delete": ScriptPlayer.delete,
    "find": ScriptPlayer.find,
    "stages": ScriptPlayer.stages,
    "shutdown": ScriptPlayer.shutdown,
    "force_status": ScriptPlayer.force_status,
    "force_workflow": ScriptPlayer.force_workflow,
    "sleep": ScriptPlayer.sleep,
    "http": ScriptPlayer.http,
    "list_sql": ScriptPlayer.list_sql,
}


@asynccontextmanager
async def script_player(case: Case) -> AsyncIterator[ScriptPlayer]:
    """Provide the player of a case, with its workflow registered in all processes."""
    # Workers of the pages' registry execute suspects in child processes, which do not have
    # the workflow.
    world, gate, local_registry = World(), NodeGate(), Registry()
    async with processes(local_registry) as known_processes:
        environment = NodeEnvironment(world, known_processes.cancel_run, gate.hold)
        local_registry.register_factory(WORKFLOW, factory_of(case, environment))
        registry.register_factory(WORKFLOW, factory_of(case, environment))
        try:
            yield ScriptPlayer(case, known_processes, world, gate)
        finally:
            registry.unregister(WORKFLOW)
