"""What should have been recorded where the reference is wrong: `correct_behaviour`.

A case is known by its id. One that is not is held to what its text says in words that we
know, to the rules for its actions, and, like every case, to the truth (truth.py).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable

from tests.lifecycle import api, forced
from tests.lifecycle.cases import Case, needs_the_api, text_of
from tests.lifecycle.compare import ALL, answers, assert_list, assert_same
from tests.lifecycle.script import Answer, Script
from tests.lifecycle.story import Story
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Run

Handler = Callable[[Case, Script], Awaitable[None]]


def variants(case: Case) -> list[Case]:
    """The case, and what it should have been able to ask: a token for each resume."""
    token = next((one["token"] for one in case["script"] if one.get("token")), None)
    if token is None or "token" not in text_of(case):
        return [case]
    other = copy.deepcopy(case)
    for action in other["script"]:
        if action["do"].startswith("resume"):
            action["token"] = token
    return [case, other]


async def assert_corrected(case: Case, script: Script) -> None:
    """The script gave what `correct_behaviour` asks for, and all else as recorded."""
    if case["conformance"] == "mixed" and not needs_the_api(case):
        await assert_same(case, script, ALL - excepted(text_of(case)))
    handler = BY_ID.get(case["id"], follows_its_text)
    await handler(case, script)


def excepted(text: str) -> set[str]:
    """The aspects of a trace that a text speaks of: there it is not to be reproduced."""
    spoken = [aspects for pattern, aspects in SPOKEN_OF if re.search(pattern, text)]
    return set().union(*spoken)


SPOKEN_OF: list[tuple[str, set[str]]] = [
    (r"\bstages?\b", {"stages"}),
    (r"\b(stream|events?|readers?)\b", {"stream"}),
    (r"\bdecisions?\b", {"decisions"}),
    (r"\bcheckpoints?\b", {"checkpoint"}),
    (r"\b(status|params|result|completed_at|started_at|error_message)\b", {"run"}),
    (r"\b(refused?|not_found|invalid_status|accepted)\b", {"errors"}),
    (r"\b(again|twice|never runs|goes on|tokens?)\b", set(ALL)),
]


def of(script: Script, *events: str) -> list[Answer]:
    """The answers to some actions, in order."""
    return [one for one in script.answers if one.action["do"] in events]


def last(script: Script) -> Story:
    """What the rows told at the end of the script."""
    return script.answers[-1].after


# -- by id -------------------------------------------------------------------------------


async def cancels_wherever_it_executes(_case: Case, script: Script) -> None:
    (cancel,) = of(script, "cancel")
    (wait,) = of(script, "wait")
    assert cancel.error is None
    assert cancel.action["process"] == 1
    assert [event["type"] for event in wait.stream or ()][-2:] == ["error", "error"]
    story = last(script)
    assert story.status == "cancelled"
    assert [stage["status"] for stage in story.stages] == ["completed", "cancelled"]
    assert script.world.visits == {"a": 1, "b": 1}


async def cancels_what_is_pending(_case: Case, script: Script) -> None:
    """At once, without starting it: no attempt, no stage, no node more than before."""
    (wait,), (cancel,) = of(script, "wait"), of(script, "cancel")
    assert (cancel.error, cancel.before.status) == (None, "pending")
    assert cancel.after.status == "cancelled"
    assert cancel.after.stages == wait.after.stages
    assert cancel.after.attempts == wait.after.attempts
    assert script.world.visits == {"a": 1, "b": 1, "c": 1}


async def stops_an_orphan(_case: Case, script: Script) -> None:
    """Its lease ends, then it is cancelled by anyone who looks, and can be resumed."""
    (cancel,), (resume,) = of(script, "cancel"), of(script, "resume")
    assert (cancel.error, resume.error) == (None, "invalid_status")
    (run_id,) = script.run_ids
    await run_in_db(forced.let_lease_end, run_id)
    await script.ends(run_id)
    assert (await script.read(run_id)).status == "cancelled"
    again = await script.act({"do": "resume"}, {})
    assert again.error is None
    assert again.after.status == "completed"
    assert script.world.visits == {"a": 1, "b": 1, "c": 1}


async def keeps_each_attempt(_case: Case, script: Script) -> None:
    stages = [
        (stage["attempt"], stage["node_name"], stage["status"])
        for stage in last(script).stages
    ]
    assert stages == [
        (1, "a", "completed"),
        (1, "b", "failed"),
        (2, "b", "failed"),
        (3, "b", "completed"),
        (3, "c", "completed"),
    ]
    assert [one.error for one in of(script, "resume")] == [None, None]


async def shows_no_end_while_it_goes_on(_case: Case, script: Script) -> None:
    under_way, done = of(script, "find")
    for answer in (of(script, "resume_async")[0], under_way):
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


async def closes_the_stage_it_interrupts(case: Case, script: Script) -> None:
    await assert_same(case, script)
    stage = last(script).stages[-1]
    assert (stage["node_name"], stage["status"]) == ("b", "cancelled")
    assert last(script).status == "cancelled"


async def gives_a_token_to_a_resume(_case: Case, script: Script) -> None:
    """With a token the node has it; without one it continues and finds none."""
    (resume,) = of(script, "resume")
    assert resume.error is None
    assert resume.after.run is not None
    seen = True if resume.action.get("token") else None
    assert resume.after.run["result"] == {"token_seen": seen}


async def deletes_no_live_run(_case: Case, script: Script) -> None:
    (delete,), (wait,) = of(script, "delete"), of(script, "wait")
    assert delete.error == "invalid_status"
    assert delete.after.status == "running"
    assert wait.after.status == "completed"
    assert wait.count == 9
    gone = await script.act({"do": "delete"}, {})
    assert gone.error is None
    assert gone.after.run is None


async def knows_no_stages_of_no_run(_case: Case, script: Script) -> None:
    (stages,) = of(script, "stages")
    assert (stages.error, stages.count) == ("not_found", 0)


async def runs_nothing_after_an_exit(_case: Case, script: Script) -> None:
    (wait,), (resume,) = of(script, "wait"), of(script, "resume")
    assert resume.error is None
    assert resume.after.run is not None
    assert resume.after.run["result"] == {"s": 1}
    assert resume.after.stages == wait.after.stages
    assert script.world.visits == {"a": 1, "stop": 1}


async def sorts_by_what_it_knows(case: Case, script: Script) -> None:
    """Pages are as asked for, ties by id; searched is what was asked; else 400."""
    await _assert_lists(case, script)
    statuses = [one.listed.status for one in script.answers if one.listed]
    assert statuses == [200, 200, 200, 400]


async def answers_in_the_api(case: Case, script: Script) -> None:
    """Every answer of the API means the same, and so do the events of each run."""
    for wanted, answer in answers(case, script):
        assert answer.response is not None
        api.assert_same_meaning(wanted, answer.response)
        if lines := wanted.get("sse_event_lines"):
            assert answer.events == api.corrected_events(lines)
    launches = len(script.run_ids)
    wanted_visits = case["expected"]["visits"].items()
    assert script.world.visits == {node: launches * n for node, n in wanted_visits}


BY_ID: dict[str, Handler] = {
    "l15_cancel_other_process": cancels_wherever_it_executes,
    "l16_cancel_pending": cancels_what_is_pending,
    "l17_cancel_orphan": stops_an_orphan,
    "l23_resume_fails_again": keeps_each_attempt,
    "l25_resume_async_view": shows_no_end_while_it_goes_on,
    "l28_cancel_resumed": closes_the_stage_it_interrupts,
    "l30_token_lost_on_resume": gives_a_token_to_a_resume,
    "l33_delete_running": deletes_no_live_run,
    "l35_stages_unknown_run": knows_no_stages_of_no_run,
    "l40_resume_exit_with_edges": runs_nothing_after_an_exit,
    "l41_http_table": answers_in_the_api,
    "l42_http_failing_run": answers_in_the_api,
    "l43_list_sql": sorts_by_what_it_knows,
}


# -- by what the text says and the script does ---------------------------------------------


async def follows_its_text(case: Case, script: Script) -> None:
    """What the text says in words that we know holds, once every run has ended."""
    await _assert_lists(case, script)
    stories = list((await script.finish()).values())
    for pattern, holds in TEXTS:
        message = re.findall(pattern, text_of(case))
        one_does = any(holds(word, script, stories) for word in message)
        assert one_does or not message, f"{message} of {text_of(case)!r}"


async def _assert_lists(case: Case, script: Script) -> None:
    for wanted, answer in answers(case, script):
        if answer.listed is not None:
            await assert_list(wanted, answer, str(answer.action))


def _answers_code(code: str, script: Script, _stories: list[Story]) -> bool:
    """One of the actions was refused so."""
    pages = {one.response.status for one in script.answers if one.response}
    return any(code in one.errors for one in script.answers) or bool(
        pages & STATUS_OF[code]
    )


def _ends_as(status: str, script: Script, stories: list[Story]) -> bool:
    seen = [*stories, *(answer.after for answer in script.answers)]
    return any(story.status == status for story in seen)


def _never_runs(node: str, script: Script, _stories: list[Story]) -> bool:
    return not script.world.visits[node]


STATUS_OF = {
    "not_found": {404},
    "workflow_not_registered": {404},
    "invalid_status": {409},
}
NOT_DENIED = r"(?<!not )(?<!no )(?<!instead of )(?<!never )"
TEXTS: list[tuple[str, Callable[[str, Script, list[Story]], bool]]] = [
    (
        NOT_DENIED + r"\b(not_found|invalid_status|workflow_not_registered)\b",
        _answers_code,
    ),
    (NOT_DENIED + r"\bends? (?:as )?(completed|failed|cancelled)\b", _ends_as),
    (r"\bnode (\w+) never runs\b", _never_runs),
]
