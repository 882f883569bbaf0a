"""Compares what a script gave with the recorded answers, put into our words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tests.engine.traces.compare import assert_equal, same
from tests.lifecycle.cases import Case, recorded_script
from tests.lifecycle.graphs import TOKEN_RECEIVED, operations
from tests.lifecycle.requests import OUTCOMES, Listed, is_sortable, wanted_page
from tests.lifecycle.script import Answer, Script
from tests.lifecycle.story import Row
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Status
from workflows.services.run_order import SORTABLE

Wanted = Mapping[str, Any]
STREAM_BUFFER = 100  # events of the reference; a late reader loses what is beyond

ALL = frozenset(
    {"errors", "run", "stages", "decisions", "checkpoint", "stream", "visits"}
)


async def assert_same(
    case: Case, script: Script, aspects: Collection[str] = ALL
) -> None:
    """The script gave all that was recorded, or those aspects of it."""
    for number, (wanted, answer) in enumerate(answers(case, script)):
        where = f"action {number + 1}, {answer.action}"
        await _assert_answer(script, wanted, answer, aspects, where)
    if "visits" in aspects:
        assert dict(script.world.visits) == case["expected"]["visits"]


def answers(case: Case, script: Script) -> Iterator[tuple[Wanted, Answer]]:
    """What was recorded of each action, next to what came of it here."""
    recorded = [_plain(wanted) for wanted in recorded_script(case)]
    return zip(recorded, script.answers, strict=True)


def _plain(value: Any) -> Any:
    """A recorded value; whatever a node told of its token is whether it had one.

    The format leaves open what `use_token` tells, except that it is null without one.
    """
    if isinstance(value, Mapping):
        return {
            key: (bool(item) or None) if key == TOKEN_RECEIVED else _plain(item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


async def _assert_answer(
    script: Script,
    wanted: Wanted,
    answer: Answer,
    aspects: Collection[str],
    where: str,
) -> None:
    messages = {key: value for key, value in wanted.items() if key in CHECKS}
    unknown = wanted.keys() - messages.keys() - UNCOMPARED
    assert not unknown, f"{where}: the adapter does not know the answer's {unknown}"
    for key, value in messages.items():
        aspect, check = CHECKS[key]
        if aspect in aspects:
            check(script, value, answer, f"{where}, {key}")
    if "db" in wanted:
        assert_rows(script, wanted["db"], answer, aspects, where)
    if "sql" in wanted:
        await assert_list(wanted, answer, where)


# -- single values -----------------------------------------------------------------------


def _assert_do(_script: Script, wanted: str, answer: Answer, where: str) -> None:
    assert answer.action["do"] == wanted, where


def _assert_error(
    _script: Script, wanted: str | None, answer: Answer, where: str
) -> None:
    """A request is compared by its status; who cancels a second time is told so."""
    if answer.response is None and not answer.was_needless:
        assert answer.error == wanted, where


def _assert_errors(_script: Script, wanted: Any, answer: Answer, where: str) -> None:
    """Of two callers at once it is open which one is refused."""
    assert sorted(map(str, answer.errors)) == sorted(map(str, _errors(wanted))), where


def _errors(value: Any) -> list[str | None]:
    if isinstance(value, Mapping):
        return [value["error"]] if "error" in value else []
    if isinstance(value, list):
        return [code for item in value for code in _errors(item)]
    return [value]


def _assert_run(script: Script, wanted: Row | None, answer: Answer, where: str) -> None:
    if wanted is None:
        assert answer.run is None, where
    else:
        assert answer.run is not None, f"{where}: {answer.errors}"
        assert_run(script, wanted, answer.run, where)


def _assert_count(_script: Script, wanted: int, answer: Answer, where: str) -> None:
    if answer.stream is None:  # else it is that of the stream, which is compared itself
        assert answer.count == wanted, where


def _assert_reached(_script: Script, wanted: Any, answer: Answer, where: str) -> None:
    assert answer.reached is wanted, where


def _assert_status(_script: Script, wanted: int, answer: Answer, where: str) -> None:
    if answer.response is not None:  # the status of a list is that of its order
        assert answer.response.status in OUTCOMES[wanted], f"{where}: {answer.response}"


# -- the stream --------------------------------------------------------------------------


def _assert_stream(
    script: Script, wanted: list[Row], answer: Answer, where: str
) -> None:
    """The page shows what the stream told.

    It shows more of a run that was resumed, which there has no stream, and to a reader
    who is late; and no end of one whose process was shut down, for that is none.
    """
    messages = answer.stream or []
    if len(wanted) == STREAM_BUFFER:
        messages = messages[:STREAM_BUFFER]
    if not wanted and answer.before.attempts[1:]:
        return
    if was_shut_down(script) and answer.since.status == Status.PENDING:
        wanted = [event for event in wanted if event["data"].keys() != {"message"}]
    kinds = [event["type"] for event in messages]
    assert kinds == [event["type"] for event in wanted], where
    for ours, theirs in zip(messages, wanted, strict=True):
        # its wording is its own, and empty for a node
        data = {key: v for key, v in theirs["data"].items() if key != "message"}
        assert_equal(ours["data"], data, f"{where}, {theirs['type']}")


# -- the rows ----------------------------------------------------------------------------


def assert_rows(
    script: Script, wanted: Wanted, answer: Answer, aspects: Collection[str], where: str
) -> None:
    """The rows after an action are the recorded ones."""
    story = answer.after
    if "run" in aspects and wanted.get("run") is None:
        assert story.run is None, f"{where}, run"
    elif "run" in aspects:
        assert story.run is not None, f"{where}, run"
        assert_run(script, wanted["run"], story.run, f"{where}, run")
    if "stages" in aspects:
        _assert_stages(wanted, story.stages, f"{where}, stages")
    if "decisions" in aspects:
        decisions = [
            {key: row[key] for key in ("from_node", "to_node", "predicate_result")}
            for row in wanted.get("decisions") or ()
        ]
        assert story.decisions == decisions, f"{where}, decisions"
    if "checkpoint" in aspects:
        state = (wanted.get("checkpoint") or {}).get("state")
        recorded = state and {key: state[key] for key in ("checkpoint_node", "data")}
        assert same(story.checkpoint, recorded), f"{where}: {story.checkpoint}"


def assert_run(script: Script, wanted: Row, ours: Row, where: str) -> None:
    """A run's row is as recorded.

    - Params that no one gave are an empty object with us.
    - `completed` says whether the run has ended. The reference's row keeps the time of
      an earlier end while the run continues, and its error; ours is cleared.
    - A run whose process was shut down is pending: the next process continues with it.
    """
    if _is_released(script, wanted, ours):
        wanted = wanted | {"status": "pending", "error_message": None}
    goes_on = wanted["status"] not in ENDED
    for key, value in wanted.items():
        at = f"{where}, {key}: {ours}"
        if key == "params":
            assert same(ours[key], value or {}), at
        elif key == "completed":
            assert ours[key] is not goes_on, at
        elif key == "error_message":
            _assert_message(script, None if goes_on else value, ours[key], at)
        elif key != "result" or not goes_on or ours[key] is not None:
            assert same(ours[key], value), at


def _is_released(script: Script, wanted: Row, ours: Row) -> bool:
    stopped = wanted["status"] in {Status.CANCELLED, Status.RUNNING}
    return was_shut_down(script) and stopped and ours["status"] == Status.PENDING


def was_shut_down(script: Script) -> bool:
    """Return whether a process of the script was."""
    return any(one.action["do"] == "shutdown" for one in script.answers)


def _assert_message(
    script: Script, wanted: str | None, ours: str | None, where: str
) -> None:
    """There is an error or there is none; it tells what the author's node said."""
    assert (ours is None) is (wanted is None), where
    text = {op["message"] for op in operations(script.case) if op["op"] == "fail"}
    text |= {script.case.get("factory_error", "")} - {""}
    for words in text:
        if wanted is not None and wanted.endswith(words):
            assert ours is not None
            assert words in ours, where


def _assert_stages(wanted: Wanted, ours: list[Row], where: str) -> None:
    recorded = wanted.get("stages") or []
    names = [row["node_name"] for row in ours]
    assert names == [row["node_name"] for row in recorded], where
    for row, theirs in zip(ours, recorded, strict=True):
        assert_stage(theirs, row, where)


def assert_stage(wanted: Row, ours: Row, where: str) -> None:
    """A stage's row is as recorded.

    - One that the reference left open when its run was stopped is closed with us, as
      failed, cancelled or interrupted, with its duration.
    - What a failed node handed back is not kept: the run continues from its input.
    - Our stage tells what went wrong; the reference's never does.
    """
    where = f"{where}: {ours} is not {wanted}"
    for key in ("node_name", "iteration", "input_snapshot"):
        assert same(ours[key], wanted[key]), where
    assert bool(ours["error"]) is (ours["status"] == "failed"), where
    if wanted["status"] == "started" and ours["status"] != "started":
        assert ours["status"] in {"failed", "cancelled", "interrupted"}, where
        assert ours["has_duration"], where
        return
    assert ours["status"] == wanted["status"], where
    assert ours["has_duration"] is wanted["has_duration"], where
    if wanted["status"] == "completed":
        assert same(ours["output_snapshot"], wanted["output_snapshot"]), where


# -- the list ----------------------------------------------------------------------------


async def assert_list(wanted: Wanted, answer: Answer, where: str) -> None:
    """The page has the rows that the recorded statement selects, in its order.

    An order by anything else than the fields we know is refused with a sentence; the
    reference hands it to the database as it came.
    """
    listed = answer.listed
    assert listed is not None, where
    if "sql" not in wanted:
        assert listed.status in {200, 400}, where
    elif is_sortable(wanted["sql"]):
        page = await run_in_db(wanted_page, answer.action["path"], wanted["sql"])
        assert listed == Listed(200, page), where
    else:
        assert listed.status == 400, where
        assert "Can’t sort runs by" in listed.message, where
        assert all(field in listed.message for field in SORTABLE), where


Check = Callable[[Script, Any, Answer, str], None]

CHECKS: dict[str, tuple[str, Check]] = {
    "do": ("errors", _assert_do),
    "error": ("errors", _assert_error),
    "errors": ("errors", _assert_errors),
    "results": ("errors", _assert_errors),
    "run": ("run", _assert_run),
    "run_at_return": ("run", _assert_run),
    "count": ("stream", _assert_count),
    "stream": ("stream", _assert_stream),
    "reached": ("stages", _assert_reached),
    "entered": ("stages", _assert_reached),
    "http_status": ("errors", _assert_status),
    "status": ("errors", _assert_status),
}
OF_THE_API = {  # compared in api.py
    *("content_type", "has_x_run_id"),
    *("body_is_list", "body_keys", "sse_event_lines"),
}
# what is compared below, and what the reference says in its own words
UNCOMPARED = {"db", "sql", "message", "body", "request", *OF_THE_API}
