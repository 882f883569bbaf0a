"""Compares the answers of a script with the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tests.engine.traces.compare import assert_equal, same
from tests.lifecycle.cases import Case, recorded_script
from tests.lifecycle.graphs import TOKEN_RECEIVED, operations
from tests.lifecycle.page_client import OUTCOMES, Listed, is_sortable, wanted_page
from tests.lifecycle.player import Answer, ScriptPlayer
from tests.lifecycle.snapshot import Row
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Status
from workflows.services.run_order import SORTABLE

Wanted = Mapping[str, Any]
STREAM_BUFFER = 100  # events that the reference buffers; a late reader loses later ones

ALL = frozenset(
    {"errors", "run", "stages", "decisions", "checkpoint", "stream", "visits"}
)


async def assert_same(
    case: Case, player: ScriptPlayer, aspects: Collection[str] = ALL
) -> None:
    """Assert that the script gave the recorded answers, in the given aspects."""
    for number, (wanted, answer) in enumerate(answers(case, player)):
        where = f"action {number + 1}, {answer.action}"
        await _assert_answer(player, wanted, answer, aspects, where)
    if "visits" in aspects:
        assert dict(player.world.visits) == case["expected"]["visits"]


def answers(case: Case, player: ScriptPlayer) -> Iterator[tuple[Wanted, Answer]]:
    """Pair the recorded answer of each action with the actual one."""
    recorded = [_plain(wanted) for wanted in recorded_script(case)]
    return zip(recorded, player.answers, strict=True)


def _plain(value: Any) -> Any:
    """Return a recorded value in which each token is reduced to whether there was one.

    The format does not define the value that `use_token` stores, only null for no token.
    """
    if isinstance(value, Mapping):
        return {
            key: (bool(item) or None) if key == TOKEN_RECEIVED else _plain(item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


async def _assert_answer(
    player: ScriptPlayer,
    wanted: Wanted,
    answer: Answer,
    aspects: Collection[str],
    where: str,
) -> None:
    compared = {key: value for key, value in wanted.items() if key in CHECKS}
    unknown = wanted.keys() - compared.keys() - UNCOMPARED
    assert not unknown, f"{where}: unknown fields {unknown}"
    for key, value in compared.items():
        aspect, check = CHECKS[key]
        if aspect in aspects:
            check(player, value, answer, f"{where}, {key}")
    if "db" in wanted:
        assert_rows(player, wanted["db"], answer, aspects, where)
    if "sql" in wanted:
        await assert_list(wanted, answer, where)


# -- single values -----------------------------------------------------------------------


def _assert_do(_player: ScriptPlayer, wanted: str, answer: Answer, where: str) -> None:
    assert answer.action["do"] == wanted, where


def _assert_error(
    _player: ScriptPlayer, wanted: str | None, answer: Answer, where: str
) -> None:
    """Skip HTTP requests, which are compared by status, and redundant requests."""
    if answer.response is None and not answer.is_redundant:
        assert answer.error == wanted, where


def _assert_errors(
    _player: ScriptPlayer, wanted: Any, answer: Answer, where: str
) -> None:
    """Ignore the order: either of two concurrent callers may be refused."""
    assert sorted(map(str, answer.errors)) == sorted(map(str, _errors(wanted))), where


def _errors(value: Any) -> list[str | None]:
    if isinstance(value, Mapping):
        return [value["error"]] if "error" in value else []
    if isinstance(value, list):
        return [code for item in value for code in _errors(item)]
    return [value]


def _assert_run(
    player: ScriptPlayer, wanted: Row | None, answer: Answer, where: str
) -> None:
    if wanted is None:
        assert answer.run is None, where
    else:
        assert answer.run is not None, f"{where}: {answer.errors}"
        assert_run(player, wanted, answer.run, where)


def _assert_count(
    _player: ScriptPlayer, wanted: int, answer: Answer, where: str
) -> None:
    if answer.stream is None:  # a stream is compared event by event
        assert answer.count == wanted, where


def _assert_reached(
    _player: ScriptPlayer, wanted: Any, answer: Answer, where: str
) -> None:
    assert answer.reached is wanted, where


def _assert_status(
    _player: ScriptPlayer, wanted: int, answer: Answer, where: str
) -> None:
    if answer.response is not None:  # lists are compared by assert_list
        assert answer.response.status in OUTCOMES[wanted], f"{where}: {answer.response}"


# -- the stream --------------------------------------------------------------------------


def _assert_stream(
    player: ScriptPlayer, wanted: list[Row], answer: Answer, where: str
) -> None:
    """Assert that the run's page shows the recorded events.

    The page shows more than the reference for a resumed run, which has no stream there,
    and to a late reader. It shows no end of a run that was released by a shutdown.
    """
    compared = answer.stream or []
    if len(wanted) == STREAM_BUFFER:
        compared = compared[:STREAM_BUFFER]
    if not wanted and answer.before.attempts[1:]:
        return
    if was_shut_down(player) and answer.run_after.status == Status.PENDING:
        wanted = [event for event in wanted if event["data"].keys() != {"message"}]
    kinds = [event["type"] for event in compared]
    assert kinds == [event["type"] for event in wanted], where
    for ours, recorded_row in zip(compared, wanted, strict=True):
        # messages have the wording of the reference
        data = {key: v for key, v in recorded_row["data"].items() if key != "message"}
        assert_equal(ours["data"], data, f"{where}, {recorded_row['type']}")


# -- the rows ----------------------------------------------------------------------------


def assert_rows(
    player: ScriptPlayer,
    wanted: Wanted,
    answer: Answer,
    aspects: Collection[str],
    where: str,
) -> None:
    """Assert that the rows after an action are the recorded ones."""
    snapshot = answer.after
    if "run" in aspects and wanted.get("run") is None:
        assert snapshot.run is None, f"{where}, run"
    elif "run" in aspects:
        assert snapshot.run is not None, f"{where}, run"
        assert_run(player, wanted["run"], snapshot.run, f"{where}, run")
    if "stages" in aspects:
        _assert_stages(wanted, snapshot.stages, f"{where}, stages")
    if "decisions" in aspects:
        decisions = [
            {key: row[key] for key in ("from_node", "to_node", "predicate_result")}
            for row in wanted.get("decisions") or ()
        ]
        assert snapshot.decisions == decisions, f"{where}, decisions"
    if "checkpoint" in aspects:
        state = (wanted.get("checkpoint") or {}).get("state")
        recorded = state and {key: state[key] for key in ("checkpoint_node", "data")}
        assert same(snapshot.checkpoint, recorded), f"{where}: {snapshot.checkpoint}"


def assert_run(player: ScriptPlayer, wanted: Row, ours: Row, where: str) -> None:
    """Assert that the row of a run is as recorded, with these differences.

    - Omitted params are an empty object.
    - `completed` is whether the run has ended. The reference keeps the time and the error
      of an earlier end while the run continues; here both are cleared.
    - A run whose process was shut down is pending: the next process continues it.
    """
    if _is_released(player, wanted, ours):
        wanted = wanted | {"status": "pending", "error_message": None}
    is_active = wanted["status"] not in ENDED
    for key, value in wanted.items():
        at = f"{where}, {key}: {ours}"
        if key == "params":
            assert same(ours[key], value or {}), at
        elif key == "completed":
            assert ours[key] is not is_active, at
        elif key == "error_message":
            _assert_message(player, None if is_active else value, ours[key], at)
        elif key != "result" or not is_active or ours[key] is not None:
            assert same(ours[key], value), at


def _is_released(player: ScriptPlayer, wanted: Row, ours: Row) -> bool:
    is_stopped = wanted["status"] in {Status.CANCELLED, Status.RUNNING}
    return was_shut_down(player) and is_stopped and ours["status"] == Status.PENDING


def was_shut_down(player: ScriptPlayer) -> bool:
    """Return whether the script shuts down a process."""
    return any(one.action["do"] == "shutdown" for one in player.answers)


def _assert_message(
    player: ScriptPlayer, wanted: str | None, ours: str | None, where: str
) -> None:
    """Assert that an error is present or absent, and contains the message of the node."""
    assert (ours is None) is (wanted is None), where
    texts = {op["message"] for op in operations(player.case) if op["op"] == "fail"}
    texts |= {player.case.get("factory_error", "")} - {""}
    for text in texts:
        if wanted is not None and wanted.endswith(text):
            assert ours is not None
            assert text in ours, where


def _assert_stages(wanted: Wanted, ours: list[Row], where: str) -> None:
    recorded = wanted.get("stages") or []
    names = [row["node_name"] for row in ours]
    assert names == [row["node_name"] for row in recorded], where
    for row, recorded_row in zip(ours, recorded, strict=True):
        assert_stage(recorded_row, row, where)


def assert_stage(wanted: Row, ours: Row, where: str) -> None:
    """Assert that the row of a stage is as recorded, with these differences.

    - A stage that the reference leaves open when its run stops is closed here, as failed,
      cancelled or interrupted, with its duration.
    - The state returned by a failed node is discarded: the run continues from its input.
    - A failed stage has an error message; in the reference it has none.
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
    """Assert that the page has the rows that the recorded statement selects, in its order.

    An unknown sort field is rejected with an error message; the reference passes it to the
    database.
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


Check = Callable[[ScriptPlayer, Any, Answer, str], None]

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
API_FIELDS = {  # compared in api_client.py
    *("content_type", "has_x_run_id"),
    *("body_is_list", "body_keys", "sse_event_lines"),
}
# compared elsewhere, or worded by the reference
UNCOMPARED = {"db", "sql", "message", "body", "request", *API_FIELDS}
