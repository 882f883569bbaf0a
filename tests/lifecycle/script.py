"""Runs the script of a case, action by action, and notes what came of each."""

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
from tests.lifecycle import forced, requests
from tests.lifecycle.api import ask_the_api, events_of
from tests.lifecycle.cases import Action, Case, needs_the_api, recorded_script
from tests.lifecycle.graphs import WORKFLOW, Surroundings, factory_of
from tests.lifecycle.pace import Pace
from tests.lifecycle.process import Process, Processes, processes
from tests.lifecycle.story import Row, Story, read_story, run_row
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
    """What came of one action."""

    action: Action
    run_id: UUID
    before: Story  # of the run that was asked about
    since: Story = field(default_factory=Story)  # of the same run
    after: Story = field(default_factory=Story)  # of the run that was launched last
    errors: list[str | None] = field(default_factory=list)
    was_needless: bool = False  # what was asked for was happening already
    accepted: list[Row] = field(default_factory=list)  # runs as they were to go on
    run: Row | None = None
    stream: list[Row] | None = None
    count: int | None = None
    reached: bool | None = None
    response: requests.Response | None = None
    listed: requests.Listed | None = None
    events: list[str] | None = None  # of a run that was launched through the API

    @property
    def error(self) -> str | None:
        """The code it was refused with, if it was."""
        return self.errors[0] if self.errors else None


class Script:
    """The script of a case under way."""

    def __init__(self, case: Case, known: Processes, world: World, pace: Pace) -> None:
        self.case = case
        self.processes = known
        self.world = world
        self.pace = pace
        self.answers: list[Answer] = []
        self.run_ids: list[UUID] = []
        self._unknown = uuid4()
        self._heard: dict[UUID, int] = {}  # events that were read, by run
        self._forced: set[UUID] = set()  # pending runs that no process may take

    async def play(self) -> None:
        """Do every action."""
        recorded = recorded_script(self.case)
        for action, wanted in zip(self.case["script"], recorded, strict=True):
            await self.act(action, wanted)

    async def act(self, action: Action, wanted: Mapping[str, Any]) -> Answer:
        """Do one action; `wanted` is what the reference answered."""
        run_id = self._run_of(action)
        answer = Answer(action, run_id, await self.read(run_id))
        await ACTIONS[action["do"]](self, answer, wanted)
        answer.since = await self.read(run_id)
        answer.after = await self.read(self._run_of({}))
        self.answers.append(answer)
        return answer

    async def finish(self) -> dict[UUID, Story]:
        """Let every run reach its end, with a process to take it; what they all tell."""
        self._forced.clear()
        for run_id in self.run_ids:
            if (await self.read(run_id)).run is not None:
                await run_in_db(forced.let_lease_end, run_id)
                await self.processes[0].start()
                await self.ends(run_id)
        return {run_id: await self.read(run_id) for run_id in self.run_ids}

    async def read(self, run_id: UUID) -> Story:
        """What the rows of a run tell."""
        return await run_in_db(read_story, run_id)

    def process(self, action: Action) -> Process:
        """The process an action is done in."""
        return self.processes[action.get("process", 0)]

    def _run_of(self, action: Action) -> UUID:
        named = action.get("run", -1)
        if named == "unknown" or not self.run_ids:
            return self._unknown
        return self.run_ids[named if isinstance(named, int) else -1]

    async def _ask(
        self, answer: Answer, ask: Callable[..., Result], *args: Any, **kwargs: Any
    ) -> Result | None:
        """Ask System; a refusal is noted, also one by the database."""
        try:
            result = await run_in_db(ask, *args, **kwargs)
        except (RequestError, DatabaseError) as error:
            code = next(code for kind, code in CODES if isinstance(error, kind))
            answer.errors.append(code)
            return None
        answer.errors.append(None)
        return result

    async def _settled(self, run_id: UUID) -> None:
        """Wait until a run has ended; not for one that nobody executes."""
        run = await run_in_db(Run.objects.filter(pk=run_id).first)
        stays = run is None or forced.is_orphan(run) or run_id in self._forced
        if not stays and self.processes.are_working:
            await self.ends(run_id)

    async def ends(self, run_id: UUID) -> None:
        """Wait for the end of a run, however long, as long as it gets on."""
        version = -1
        while True:
            try:
                with self.pace.passing():
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
        """Launch; what is shown is the run as it was accepted."""
        action, process = answer.action, self.process(answer.action)
        await process.start()
        run = await self._ask(
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
        """Read the run's page until it has ended: what was not read before.

        Reading late, `wait_slow`, is no different: the page catches up with the rows.
        """
        await self._settled(answer.run_id)
        stream = (await self.read(answer.run_id)).stream
        answer.stream = stream[self._heard.get(answer.run_id, 0) :]
        answer.count = len(answer.stream)
        self._heard[answer.run_id] = len(stream)

    async def wait_stage(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Wait for a stage of this node in this status; in vain once the run ended."""
        wanted = {"node_name": answer.action["node"]}
        if "status" in answer.action:
            wanted["status"] = answer.action["status"]
        answer.reached = await self._sees_stage(answer.run_id, **wanted)

    async def _sees_stage(
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
        with self.pace.passing(held=wanted.get("node_name", "") if starts else ""):
            run = await until(run_id, lambda run: exists(run) or run.status in ENDED)
        return await run_in_db(exists, run)

    async def cancel(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Cancel; of several callers the first one counts, and the others are told."""
        system = self.process(answer.action).system
        answer.was_needless = bool(answer.before.run and answer.before.run["stopping"])
        await self._ask(answer, system.cancel, answer.run_id, by=None)

    async def resume(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume, and wait for the end; a caller who goes away changes nothing."""
        if await self._asked_to_resume(answer):
            if "ms" in answer.action:
                await asyncio.sleep(answer.action["ms"] / 1000)
            await self._settled(answer.run_id)
            answer.run = (await self.read(answer.run_id)).run

    async def resume_async(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume, and wait until the run is in a node again."""
        if await self._asked_to_resume(answer):
            place = {"status": "started"}
            if "node" in answer.action:
                place["node_name"] = answer.action["node"]
            answer.reached = await self._sees_stage(
                answer.run_id, after_attempt=len(answer.before.attempts), **place
            )

    async def _asked_to_resume(self, answer: Answer) -> bool:
        """Tell whether the run goes on."""
        process = self.process(answer.action)
        token = answer.action.get("token") or ""
        if await self._is_released(answer.run_id):
            # nobody has to ask: a process that comes takes what another gave back
            answer.errors.append(None)
            answer.was_needless = True
        else:
            await self._resume(answer, process, token=token)
        if answer.error is None:
            await process.start()
        return answer.error is None

    async def _resume(self, answer: Answer, process: Process, token: str = "") -> None:
        run = await self._ask(
            answer, process.system.resume, answer.run_id, by=None, token=token
        )
        if run is not None:
            answer.accepted.append(run_row(run))

    async def _is_released(self, run_id: UUID) -> bool:
        run = await run_in_db(Run.objects.filter(pk=run_id).first)
        waits = run is not None and run.status == Status.PENDING
        return waits and run_id not in self._forced and not self.processes.are_working

    async def resume_twice(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Resume from two callers at once."""
        process = self.process(answer.action)
        await process.start()
        await asyncio.gather(
            self._resume(answer, process), self._resume(answer, self.processes[1])
        )
        await self._settled(answer.run_id)

    async def delete(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        await self._ask(answer, system.delete_run, answer.run_id, by=None)

    async def find(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        run = await self._ask(answer, system.find_run, answer.run_id)
        answer.run = run_row(run) if run else None

    async def stages(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        system = self.process(answer.action).system
        rows = await self._ask(answer, lambda: list(system.get_stages(answer.run_id)))
        answer.count = len(rows or ())

    async def shutdown(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        await self.process(answer.action).shut_down()

    async def force_status(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Nobody executes such a run: its pending one must find no process."""
        if answer.action["status"] == Status.PENDING:
            await self.processes.shut_down()
            self._forced.add(answer.run_id)
        await run_in_db(forced.force_status, answer.run_id, answer.action["status"])

    async def force_workflow(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        await run_in_db(forced.force_workflow, answer.run_id, answer.action["name"])

    async def sleep(self, answer: Answer, wanted: Mapping[str, Any]) -> None:
        """Sleep; then wait if the reference was done by then and we are slower."""
        with self.pace.passing():
            await asyncio.sleep(answer.action["ms"] / 1000)
        run = (wanted.get("db") or {}).get("run") or {}
        if run.get("status") in ENDED:
            await self._settled(answer.run_id)

    async def http(self, answer: Answer, _wanted: Mapping[str, Any]) -> None:
        """Ask a page or the API; what it launched or resumed is waited for."""
        action = answer.action
        await self.process(action).start()
        path = re.sub(r"<run>|\{(run|id|run_id)\}", str(answer.run_id), action["path"])
        path = re.sub(r"\bunknown\b", str(self._unknown), path)
        method = action.get("method", "GET").upper()
        ask = ask_the_api if needs_the_api(self.case) else requests.ask
        response = await run_in_db(ask, method, path, action.get("body"))
        answer.response = response
        if response.launched:
            self.run_ids.append(UUID(response.launched))
        if response.launched or response.action == "resume":
            await self._settled(self._run_of(action))
        if response.launched and needs_the_api(self.case):
            answer.events = await run_in_db(events_of, response.launched)

    async def list_sql(self, answer: Answer, wanted: Mapping[str, Any]) -> None:
        if not await run_in_db(Run.objects.filter(workflow_name="w").exists):
            await run_in_db(requests.fill_list)
        answer.listed = await run_in_db(
            requests.list_page,
            self.process(answer.action).system,
            answer.action["path"],
            wanted.get("sql") or (),
        )


Do = Callable[[Script, Answer, Mapping[str, Any]], Awaitable[None]]

ACTIONS: dict[str, Do] = {
    "execute": Script.execute,
    "wait": Script.wait,
    "wait_slow": Script.wait,
    "wait_stage": Script.wait_stage,
    "cancel": Script.cancel,
    "resume": Script.resume,
    "resume_async": Script.resume_async,
    "resume_twice": Script.resume_twice,
    "delete": Script.delete,
    "find": Script.find,
    "stages": Script.stages,
    "shutdown": Script.shutdown,
    "force_status": Script.force_status,
    "force_workflow": Script.force_workflow,
    "sleep": Script.sleep,
    "http": Script.http,
    "list_sql": Script.list_sql,
}


@asynccontextmanager
async def scene(case: Case) -> AsyncIterator[Script]:
    """Give the script of a case, with its workflow known to all processes."""
    # Workers of the pages' registry execute suspects in child processes, which do not have
    # the workflow.
    world, pace, own = World(), Pace(), Registry()
    async with processes(own) as known:
        around = Surroundings(world, known.stop_run, pace.hold)
        own.register_factory(WORKFLOW, factory_of(case, around))
        registry.register_factory(WORKFLOW, factory_of(case, around))
        try:
            yield Script(case, known, world, pace)
        finally:
            registry.unregister(WORKFLOW)
