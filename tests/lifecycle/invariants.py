"""Invariants of every case after its runs have ended, independent of the recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps

from tests.engine.traces.compare import same
from tests.engine.traces.ops import World
from tests.engine.traces.replay import plain
from tests.lifecycle.cases import Case
from tests.lifecycle.graphs import (
    FactoryFailed,
    NodeEnvironment,
    cancel_nothing,
    factory_of,
    no_hold,
    operations,
)
from tests.lifecycle.player import Answer, ScriptPlayer
from tests.lifecycle.snapshot import RunSnapshot
from workflows.engine import (
    CheckpointConfig,
    DefinitionError,
    ExecutionError,
    Graph,
    GraphConfig,
    MemoryStore,
    NoOpObserver,
    ResumeError,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import CANCELLABLE, ENDED, RESUMABLE

# actions that change the outcome of a run
DISTURBANCES = {
    "cancel",
    "shutdown",
    "delete",
    "force_status",
    "force_workflow",
    "http",
}


async def assert_invariants(case: Case, player: ScriptPlayer) -> None:
    """Assert that all answers follow the rules and the rows of all runs are consistent."""
    if "fail_exec" not in case:
        for answer in player.answers:
            assert_permitted(answer)
            _assert_outcome_cleared(answer)
    snapshots = await player.finish()
    for snapshot in snapshots.values():
        if snapshot.run is not None:
            assert_consistent(snapshot)
    _assert_visits(case, player, snapshots)
    await _assert_no_token(case)
    await _assert_outcome(case, player, snapshots)


# -- answers -----------------------------------------------------------------------------


def assert_permitted(answer: Answer) -> None:
    """Assert that the status of the run before or after an action permits its answer."""
    rule = RULES.get(answer.action["do"])
    if rule is None or answer.is_redundant:
        return
    for error in answer.errors:
        allowed = {
            _code(snapshot, rule) for snapshot in (answer.before, answer.run_after)
        }
        if answer.action["do"] == "resume_twice":
            allowed.add("invalid_status")
        elif error == "workflow_not_registered":
            allowed.add(error)
        assert error in allowed, f"{answer.action}: {error}, not {allowed}"
    if answer.action["do"] == "resume_twice":
        assert answer.errors.count(None) <= 1, "two callers resumed one run"


def _assert_outcome_cleared(answer: Answer) -> None:
    """Assert that a resumed run has no result, error or end of its previous attempt."""
    for run in answer.accepted:
        assert run["started"] is (answer.before.run or {}).get("started")
        assert (run["completed"], run["result"]) == (False, None)
        assert run["error_message"] is None


def _code(snapshot: RunSnapshot, allowed: Any) -> str | None:
    if snapshot.run is None:
        return "not_found"
    return None if snapshot.status in allowed else "invalid_status"


ANY = (*ENDED, *CANCELLABLE)
RULES: dict[str, Any] = {
    "cancel": CANCELLABLE,
    "resume": RESUMABLE,
    "resume_async": RESUMABLE,
    "resume_twice": RESUMABLE,
    "delete": ENDED,
    "find": ANY,
    "stages": ANY,
}


# -- rows --------------------------------------------------------------------------------


def assert_consistent(snapshot: RunSnapshot) -> None:
    """Assert that the rows of an ended run are consistent."""
    assert snapshot.run is not None
    assert snapshot.status in ENDED
    assert snapshot.run["completed"]
    for stage in snapshot.stages:
        assert stage["status"] in {"completed", "failed", "cancelled", "interrupted"}, (
            stage
        )
        assert stage["has_duration"], stage
    done = [s["sequence"] for s in snapshot.stages if s["status"] == "completed"]
    assert done == list(range(1, len(done) + 1)), "a completed step ran again"
    reached = [(row["from_node"], row["to_node"]) for row in snapshot.decisions]
    path = list(zip(snapshot.path, snapshot.path[1:], strict=False))
    assert reached[: len(path)] == path, "a step has no decision that led to it"
    assert len(reached) - len(path) <= 1
    assert all(attempt["outcome"] for attempt in snapshot.attempts)
    if snapshot.status == "completed":
        assert snapshot.checkpoint is not None
        assert same(snapshot.run["result"], snapshot.checkpoint["data"])
        assert snapshot.run["error_message"] is None
    else:
        assert snapshot.run["result"] is None
        assert snapshot.run["error_message"]


def _assert_visits(
    case: Case, player: ScriptPlayer, snapshots: Mapping[UUID, RunSnapshot]
) -> None:
    """Assert that each execution of a node has a stage, and each stage an execution."""
    if any(snapshot.run is None for snapshot in snapshots.values()):
        return  # deleted with its stages
    counted = {call["name"] for call in case["build"] if "ops" in call}
    stages = Counter(
        stage["node_name"]
        for snapshot in snapshots.values()
        for stage in snapshot.stages
        if stage["node_name"] in counted
    )
    visits = +player.world.visits
    if "stages" in case.get(
        "fail_exec", ""
    ):  # the row of the rejected stage is missing
        assert not stages - visits
        assert (visits - stages).total() <= 1
    else:
        assert stages == visits


async def _assert_no_token(case: Case) -> None:
    """Assert that no row contains a token."""
    tokens = {action.get("token") for action in case["script"]} - {None, ""}
    rows = await run_in_db(_all_rows)
    for token in tokens:
        assert str(token) not in rows


def _all_rows() -> str:
    models = apps.get_app_config("workflows").get_models()
    rows = [str(list(model._default_manager.values())) for model in models]  # noqa: SLF001 - Django's name
    return "\n".join(rows)


# -- outcome -----------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryOutcome:
    """The outcome of a graph in memory."""

    completed: bool
    data: Any
    visits: dict[str, int]


async def _assert_outcome(
    case: Case, player: ScriptPlayer, snapshots: Mapping[UUID, RunSnapshot]
) -> None:
    """Assert the outcome of the graph in memory, for cases without disturbances."""
    events = [action["do"] for action in case["script"]]
    cancels = any(op["op"] == "cancel" for op in operations(case))
    undisturbed = events.count("execute") == 1 and not DISTURBANCES & {*events}
    if cancels or not undisturbed or len(snapshots) != 1 or "fail_exec" in case:
        return
    (snapshot,) = snapshots.values()
    reached = await run_in_memory(case, player, len(snapshot.attempts))
    assert snapshot.run is not None
    assert (snapshot.status == "completed") is reached.completed
    assert dict(player.world.visits) == reached.visits
    if reached.completed:
        assert same(snapshot.run["result"], reached.data)


async def run_in_memory(
    case: Case, player: ScriptPlayer, attempts: int
) -> MemoryOutcome:
    """Execute the graph in memory, with the same resumes and tokens as in the script."""
    world, store = World(), MemoryStore()
    environment = NodeEnvironment(world, cancel_nothing, no_hold)
    starts = [one for one in case["script"] if one["do"].startswith(("exec", "resume"))]
    tokens = dict(enumerate(action.get("token") for action in starts))
    executed = next(one for one in player.answers if one.action["do"] == "execute")
    reached = MemoryOutcome(completed=False, data=None, visits={})
    for attempt in range(attempts):
        config = GraphConfig("walk", checkpoint=CheckpointConfig("memory", 1, True))
        graph = Graph("walk", config, NoOpObserver(), store)
        params = executed.action.get("params") or {}
        secrets = {"token": token} if (token := tokens.get(attempt)) else {}
        try:
            state = factory_of(case, environment)(graph, None, params).stamped(
                run_id="r"
            )
            if store.list():
                state = await graph.resume("r", secrets=secrets)
            else:
                for name, value in secrets.items():
                    state = state.set_secret(name, value)
                state = await graph.execute(state)
        except (ExecutionError, DefinitionError, ResumeError, FactoryFailed):
            continue
        reached.completed, reached.data = True, plain(state.data)
    reached.visits = dict(world.visits)
    return reached
