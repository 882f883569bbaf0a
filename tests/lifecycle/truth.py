"""What holds for every case once its runs have ended, whatever was recorded."""

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
    Surroundings,
    factory_of,
    never_held,
    nobody,
    operations,
)
from tests.lifecycle.script import Answer, Script
from tests.lifecycle.story import Story
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

# what decides, next to the graph, how a run ends
DISTURBANCES = {
    "cancel",
    "shutdown",
    "delete",
    "force_status",
    "force_workflow",
    "http",
}


async def assert_true(case: Case, script: Script) -> None:
    """Every answer kept to the rules, and every run's rows tell one sound story."""
    if "fail_exec" not in case:
        for answer in script.answers:
            assert_by_the_rules(answer)
            _assert_goes_on(answer)
    stories = await script.finish()
    for story in stories.values():
        if story.run is not None:
            assert_sound(story)
    _assert_visits(case, script, stories)
    await _assert_no_token(case)
    await _assert_outcome(case, script, stories)


# -- what may be asked of a run ----------------------------------------------------------


def assert_by_the_rules(answer: Answer) -> None:
    """An action was accepted or refused as its run's status has it, before or since."""
    rule = RULES.get(answer.action["do"])
    if rule is None or answer.was_needless:
        return
    for error in answer.errors:
        allowed = {_code(story, rule) for story in (answer.before, answer.since)}
        if answer.action["do"] == "resume_twice":
            allowed.add("invalid_status")
        elif error == "workflow_not_registered":
            allowed.add(error)
        assert error in allowed, f"{answer.action}: {error}, not {allowed}"
    if answer.action["do"] == "resume_twice":
        assert answer.errors.count(None) <= 1, "two callers resumed one run"


def _assert_goes_on(answer: Answer) -> None:
    """A run that is resumed shows nothing of its last end from that moment on."""
    for run in answer.accepted:
        assert run["started"] is (answer.before.run or {}).get("started")
        assert (run["completed"], run["result"]) == (False, None)
        assert run["error_message"] is None


def _code(story: Story, allowed: Any) -> str | None:
    if story.run is None:
        return "not_found"
    return None if story.status in allowed else "invalid_status"


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


# -- what the rows tell ------------------------------------------------------------------


def assert_sound(story: Story) -> None:
    """The rows of an ended run contradict neither each other nor what was promised."""
    assert story.run is not None
    assert story.status in ENDED
    assert story.run["completed"]
    for stage in story.stages:
        assert stage["status"] in {"completed", "failed", "cancelled", "interrupted"}, (
            stage
        )
        assert stage["has_duration"], stage
    done = [s["sequence"] for s in story.stages if s["status"] == "completed"]
    assert done == list(range(1, len(done) + 1)), "a completed step ran again"
    walked = [(row["from_node"], row["to_node"]) for row in story.decisions]
    path = list(zip(story.path, story.path[1:], strict=False))
    assert walked[: len(path)] == path, "a step has no decision that led to it"
    assert len(walked) - len(path) <= 1
    assert all(attempt["outcome"] for attempt in story.attempts)
    if story.status == "completed":
        assert story.checkpoint is not None
        assert same(story.run["result"], story.checkpoint["data"])
        assert story.run["error_message"] is None
    else:
        assert story.run["result"] is None
        assert story.run["error_message"]


def _assert_visits(case: Case, script: Script, stories: Mapping[UUID, Story]) -> None:
    """Each time a node ran left a stage, and no stage is of a node that did not run."""
    if any(story.run is None for story in stories.values()):
        return  # deleted with its stages
    counted = {call["name"] for call in case["build"] if "ops" in call}
    stages = Counter(
        stage["node_name"]
        for story in stories.values()
        for stage in story.stages
        if stage["node_name"] in counted
    )
    visits = +script.world.visits
    if "stages" in case.get("fail_exec", ""):  # the row of the refused stage is missing
        assert not stages - visits
        assert (visits - stages).total() <= 1
    else:
        assert stages == visits


async def _assert_no_token(case: Case) -> None:
    """A token is in no row."""
    tokens = {action.get("token") for action in case["script"]} - {None, ""}
    rows = await run_in_db(_all_rows)
    for token in tokens:
        assert str(token) not in rows


def _all_rows() -> str:
    models = apps.get_app_config("workflows").get_models()
    rows = [str(list(model._default_manager.values())) for model in models]  # noqa: SLF001 - Django's name
    return "\n".join(rows)


# -- where it must lead ------------------------------------------------------------------


@dataclass(slots=True)
class Walked:
    """What a graph comes to in memory."""

    completed: bool
    data: Any
    visits: dict[str, int]


async def _assert_outcome(
    case: Case, script: Script, stories: Mapping[UUID, Story]
) -> None:
    """Undisturbed, a run and its resumes come to what the graph comes to in memory."""
    events = [action["do"] for action in case["script"]]
    cancels = any(op["op"] == "cancel" for op in operations(case))
    undisturbed = events.count("execute") == 1 and not DISTURBANCES & {*events}
    if cancels or not undisturbed or len(stories) != 1 or "fail_exec" in case:
        return
    (story,) = stories.values()
    walked = await walk(case, script, len(story.attempts))
    assert story.run is not None
    assert (story.status == "completed") is walked.completed
    assert dict(script.world.visits) == walked.visits
    if walked.completed:
        assert same(story.run["result"], walked.data)


async def walk(case: Case, script: Script, attempts: int) -> Walked:
    """What the graph comes to, walked and resumed as often, with the script's tokens."""
    world, store = World(), MemoryStore()
    around = Surroundings(world, nobody, never_held)
    asked = [one for one in case["script"] if one["do"].startswith(("exec", "resume"))]
    tokens = dict(enumerate(action.get("token") for action in asked))
    executed = next(one for one in script.answers if one.action["do"] == "execute")
    walked = Walked(completed=False, data=None, visits={})
    for attempt in range(attempts):
        config = GraphConfig("walk", checkpoint=CheckpointConfig("memory", 1, True))
        graph = Graph("walk", config, NoOpObserver(), store)
        params = executed.action.get("params") or {}
        secrets = {"token": token} if (token := tokens.get(attempt)) else {}
        try:
            state = factory_of(case, around)(graph, None, params).stamped(run_id="r")
            if store.list():
                state = await graph.resume("r", secrets=secrets)
            else:
                for name, value in secrets.items():
                    state = state.set_secret(name, value)
                state = await graph.execute(state)
        except (ExecutionError, DefinitionError, ResumeError, FactoryFailed):
            continue
        walked.completed, walked.data = True, plain(state.data)
    walked.visits = dict(world.visits)
    return walked
