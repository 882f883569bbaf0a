"""Checks the cases whose trace is wrong in the reference against `correct_behaviour`.

Known cases have a handler by id. Other cases are checked against the phrases of their text
that `TEXTS` matches and, like every case, against the invariants.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable

from tests.lifecycle import api_client, forced_rows
from tests.lifecycle.cases import Case, needs_the_api, text_of
from tests.lifecycle.compare import ALL, answers, assert_list, assert_same
from tests.lifecycle.player import Answer, ScriptPlayer
from tests.lifecycle.snapshot import RunSnapshot
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Run

Handler = Callable[[Case, ScriptPlayer], Awaitable[None]]


def variants(case: Case) -> list[Case]:
    """Return the case and, if its text requires it, one with a token for each resume."""
    token = next((one["token"] for one in case["script"] if one.get("token")), None)
    if token is None or "token" not in text_of(case):
        return [case]
    other = copy.deepcopy(case)
    for action in other["script"]:
        if action["do"].startswith("resume"):
            action["token"] = token
    return [case, other]


async def assert_corrected(case: Case, player: ScriptPlayer) -> None:
    """Assert what `correct_behaviour` requires, and the recorded answers otherwise."""
    if case["conformance"] == "mixed" and not needs_the_api(case):
        await assert_same(case, player, ALL - excepted(text_of(case)))
    handler = BY_ID.get(case["id"], assert_text)
    await handler(case, player)


def excepted(text: str) -> set[str]:
    """Return the aspects that a text corrects; the trace does not hold for them."""
    corrected_aspects = [
        aspects for pattern, aspects in ASPECTS_OF_TEXT if re.search(pattern, text)
    ]
    return set().union(*corrected_aspects)


ASPECTS_OF_TEXT: list[tuple[str, set[str]]] = [
    (r"\bstages?\b", {"stages"}),
    (r"\b(stream|events?|readers?)\b", {"stream"}),
    (r"\bdecisions?\b", {"decisions"}),
    (r"\bcheckpoints?\b", {"checkpoint"}),
    (r"\b(status|params|result|completed_at|started_at|error_message)\b", {"run"}),
    (r"\b(refused?|not_found|invalid_status|accepted)\b", {"errors"}),
    (r"\b(again|twice|never runs|goes on|tokens?)\b", set(ALL)),
]


def answers_to(player: ScriptPlayer, *events: str) -> list[Answer]:
    """Return the answers to the given kinds of actions, in order."""
    return [one for one in player.answers if one.action["do"] in events]


def last(player: ScriptPlayer) -> RunSnapshot:
    """Return the rows at the end of the script."""
    return player.answers[-1].after


# -- by id -------------------------------------------------------------------------------


async def assert_cancel_from_other_process(_case: Case, player: ScriptPlayer) -> None:
    (cancel,) = answers_to(player, "cancel")
    (wait,) = answers_to(player, "wait")
    assert cancel.error is None
    assert cancel.action["process"] == 1
    assert [event["type"] for event in wait.stream or ()][-2:] == ["error", "error"]
    snapshot = last(player)
    assert snapshot.status == "cancelled"
    assert [stage["status"] for stage in snapshot.stages] == ["completed", "cancelled"]
    assert player.world.visits == {"a": 1, "b": 1}


async def assert_pending_run_is_cancelled(_case: Case, player: ScriptPlayer) -> None:
    """Without executing it: no additional attempt, stage or call of a node."""
    (wait,), (cancel,) = answers_to(player, "wait"), answers_to(player, "cancel")
    assert (cancel.error, cancel.before.status) == (None, "pending")
    assert cancel.after.status == "cancelled"
    assert cancel.after.stages == wait.after.stages
    assert cancel.after.attempts == wait.after.attempts
    assert player.world.visits == {"a": 1, "b": 1, "c": 1}


async def assert_orphan_is_cancelled(_case: Case, player: ScriptPlayer) -> None:
    """After its lease expired any worker cancels it, and it can be resumed."""
    (cancel,), (resume,) = answers_to(player, "cancel"), answers_to(player, "resume")
    assert (cancel.error, resume.error) == (None, "invalid_status")
    (run_id,) = player.run_ids
    await run_in_db(forced_rows.expire_lease, run_id)
    await player.ends(run_id)
    assert (await player.read(run_id)).status == "cancelled"
    again = await player.act({"do": "resume"}, {})
    assert again.error is None
    assert again.after.status == "completed"
    assert player.world.visits == {"a": 1, "b": 1, "c": 1}


async def assert_attempts_are_kept(_case: Case, player: ScriptPlayer) -> None:
    stages = [
        (stage["attempt"], stage["node_name"], stage["status"])
        for stage in last(player).stages
    ]
    assert stages == [
        (1, "a", "completed"),
        (1, "b", "failed"),
        (2, "b", "failed"),
        (3, "b", "completed"),
        (3, "c", "completed"),
    ]
    assert [one.error for one in answers_to(player, "resume")] == [None, None]


async def assert_active_run_has_no_result(_case: Case, player: ScriptPlayer) -> None:
    active, done = answers_to(player, "find")
    for answer in (answers_to(player, "resume_async")[0], active):
        run = answer.after.run
        assert run is not None
        assert (run["status"], run["completed"], run["started"]) == (
            "running",
            False,
            True,
        )
        assert (run["result"], run["error_message"]) == (None, None)
    assert done.after.status == "completed"
    first = await run_in_db(Attempt.objects.get, run=done.run_id, number=1)
    assert (first.outcome, first.error_code) == ("failed", "node_failed")
    assert "first" in first.error_message
    run_row = await run_in_db(Run.objects.get, pk=done.run_id)
    assert run_row.started_at is not None
    assert run_row.started_at <= first.started_at


async def assert_interrupted_stage_is_closed(case: Case, player: ScriptPlayer) -> None:
    await assert_same(case, player)
    stage = last(player).stages[-1]
    assert (stage["node_name"], stage["status"]) == ("b", "cancelled")
    assert last(player).status == "cancelled"


async def assert_resume_passes_token(_case: Case, player: ScriptPlayer) -> None:
    """A node receives the token of the resume; without a token it receives none."""
    (resume,) = answers_to(player, "resume")
    assert resume.error is None
    assert resume.after.run is not None
    token_received = True if resume.action.get("token") else None
    assert resume.after.run["result"] == {"token_seen": token_received}


async def assert_running_run_is_not_deleted(_case: Case, player: ScriptPlayer) -> None:
    (delete,), (wait,) = answers_to(player, "delete"), answers_to(player, "wait")
    assert delete.error == "invalid_status"
    assert delete.after.status == "running"
    assert wait.after.status == "completed"
    assert wait.count == 9
    deleted = await player.act({"do": "delete"}, {})
    assert deleted.error is None
    assert deleted.after.run is None


async def assert_unknown_run_has_no_stages(_case: Case, player: ScriptPlayer) -> None:
    (stages,) = answers_to(player, "stages")
    assert (stages.error, stages.count) == ("not_found", 0)


async def assert_exit_ends_run(_case: Case, player: ScriptPlayer) -> None:
    (wait,), (resume,) = answers_to(player, "wait"), answers_to(player, "resume")
    assert resume.error is None
    assert resume.after.run is not None
    assert resume.after.run["result"] == {"s": 1}
    assert resume.after.stages == wait.after.stages
    assert player.world.visits == {"a": 1, "stop": 1}


async def assert_sorted_lists(case: Case, player: ScriptPlayer) -> None:
    """Sort, search and paginate as requested, ties by id; reject unknown fields."""
    await _assert_lists(case, player)
    statuses = [one.listed.status for one in player.answers if one.listed]
    assert statuses == [200, 200, 200, 400]


async def assert_api_responses(case: Case, player: ScriptPlayer) -> None:
    """Every response of the API matches, and so do the events of each run."""
    for wanted, answer in answers(case, player):
        assert answer.response is not None
        api_client.assert_equivalent(wanted, answer.response)
        if lines := wanted.get("sse_event_lines"):
            assert answer.events == api_client.corrected_events(lines)
    launches = len(player.run_ids)
    wanted_visits = case["expected"]["visits"].items()
    assert player.world.visits == {node: launches * n for node, n in wanted_visits}


BY_ID: dict[str, Handler] = {
    "l15_cancel_other_process": assert_cancel_from_other_process,
    "l16_cancel_pending": assert_pending_run_is_cancelled,
    "l17_cancel_orphan": assert_orphan_is_cancelled,
    "l23_resume_fails_again": assert_attempts_are_kept,
    "l25_resume_async_view": assert_active_run_has_no_result,
    "l28_cancel_resumed": assert_interrupted_stage_is_closed,
    "l30_token_lost_on_resume": assert_resume_passes_token,
    "l33_delete_running": assert_running_run_is_not_deleted,
    "l35_stages_unknown_run": assert_unknown_run_has_no_stages,
    "l40_resume_exit_with_edges": assert_exit_ends_run,
    "l41_http_table": assert_api_responses,
    "l42_http_failing_run": assert_api_responses,
    "l43_list_sql": assert_sorted_lists,
}


# -- by text -----------------------------------------------------------------------------


async def assert_text(case: Case, player: ScriptPlayer) -> None:
    """Assert the known phrases of the text after every run has ended."""
    await _assert_lists(case, player)
    snapshots = list((await player.finish()).values())
    for pattern, predicate in TEXTS:
        matches = re.findall(pattern, text_of(case))
        one_does = any(predicate(word, player, snapshots) for word in matches)
        assert one_does or not matches, f"{matches} of {text_of(case)!r}"


async def _assert_lists(case: Case, player: ScriptPlayer) -> None:
    for wanted, answer in answers(case, player):
        if answer.listed is not None:
            await assert_list(wanted, answer, str(answer.action))


def _is_refused_with(
    code: str, player: ScriptPlayer, _stories: list[RunSnapshot]
) -> bool:
    """Return whether one of the actions was refused with a code."""
    pages = {one.response.status for one in player.answers if one.response}
    return any(code in one.errors for one in player.answers) or bool(
        pages & STATUS_OF[code]
    )


def _ends_as(status: str, player: ScriptPlayer, snapshots: list[RunSnapshot]) -> bool:
    token_received = [*snapshots, *(answer.after for answer in player.answers)]
    return any(snapshot.status == status for snapshot in token_received)


def _never_runs(node: str, player: ScriptPlayer, _stories: list[RunSnapshot]) -> bool:
    return not player.world.visits[node]


STATUS_OF = {
    "not_found": {404},
    "workflow_not_registered": {404},
    "invalid_status": {409},
}
NOT_DENIED = r"(?<!not )(?<!no )(?<!instead of )(?<!never )"
TEXTS: list[tuple[str, Callable[[str, ScriptPlayer, list[RunSnapshot]], bool]]] = [
    (
        NOT_DENIED + r"\b(not_found|invalid_status|workflow_not_registered)\b",
        _is_refused_with,
    ),
    (NOT_DENIED + r"\bends? (?:as )?(completed|failed|cancelled)\b", _ends_as),
    (r"\bnode (\w+) never runs\b", _never_runs),
]
