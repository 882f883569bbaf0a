"""The page of a run's model calls, their content in the API and exports, forks that replay."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from tests.support.agent_rows import make_agent, make_call, make_content
from tests.support.factories import make_run, make_user
from tests.support.openai_server import Answer, ModelServer
from tests.support.responses import text_of
from tests.support.workers import ended, working
from workflows.access import tokens
from workflows.agents import call_content
from workflows.engine import State, Workflow, node
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AgentCall,
    CallContent,
    CallReplay,
    Fork,
    Run,
    WorkflowPermission,
)
from workflows.registry import registry
from workflows.runtime import Runtime
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
NAME = "summarize"  # a workflow that is installed
REPLAYED = "fork-replay"


class Talk(State):
    """State of the runs here."""

    result: str = ""


@node
async def talk(state: Talk, runtime: Runtime) -> Talk:
    reply = await runtime.agents.chat("writer", "Hello?")
    return state.set(result=reply.text)


@pytest.fixture
def workflow() -> Iterator[Any]:
    made = Workflow(REPLAYED, state=Talk, start=talk, routes={}, call_content=True)
    registry.register(made)
    yield made
    registry.unregister(REPLAYED)


@pytest.fixture
def boss() -> User:
    return make_user("boss", is_superuser=True)


def client_of(user: User) -> Client:
    _, secret = tokens.create(user, f"of {user}", by=user, scopes=["admin"])
    return Client(headers={"Authorization": f"Bearer {secret}"})


def run_with_calls() -> Run:
    run = make_run(workflow_name=NAME)
    first = make_call(run, sequence=1, attempt=1, replay=CallReplay.PROMPT_DIFFERS)
    make_content(first, "Which <b>?", "The answer is 42.")
    make_call(run, sequence=2, attempt=1)
    return run


def hide_values(name: str) -> User:
    """Return an operator who may see runs of the workflow without their values."""
    user = make_user("blind")
    seeing, reading = (Group.objects.create(name=one) for one in ("see", "read"))
    user.groups.add(seeing)
    WorkflowPermission.objects.create(workflow_name=name, group=seeing)
    WorkflowPermission.objects.create(
        workflow_name=name, group=reading, can_view=False, can_read=True
    )
    return user


def test_the_page_shows_each_call_with_prompt_answer_and_replay(
    boss: User, sign_in: SignIn
) -> None:
    run = run_with_calls()
    text = text_of(sign_in(boss).get(f"/runs/{run.pk}/calls/"))
    assert "Which &lt;b&gt;?" in text
    assert "The answer is 42." in text
    assert "Called again: the prompt differs from the recorded one" in text
    assert "Prompt and answer are not stored." in text
    of_step = text_of(sign_in(boss).get(f"/runs/{run.pk}/calls/?step=2"))
    assert "The answer is 42." not in of_step
    beyond = sign_in(boss).get(f"/runs/{run.pk}/calls/?step=99999999999999999999")
    assert "No calls." in text_of(beyond)


def test_a_cut_answer_has_a_mark_after_how_many_characters(
    boss: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_content, "MAX_CHARS", 5)
    run = run_with_calls()
    text = text_of(sign_in(boss).get(f"/runs/{run.pk}/calls/"))
    assert "Cut after 5 of 17 characters." in text


def test_content_is_hidden_from_people_who_may_not_read_values(
    sign_in: SignIn,
) -> None:
    run = run_with_calls()
    user = hide_values(NAME)
    page = sign_in(user).get(f"/runs/{run.pk}/calls/")
    assert page.status_code == 403
    about = text_of(sign_in(user).get(f"/runs/{run.pk}/"))
    assert f"/runs/{run.pk}/calls/" not in about
    client = client_of(user)
    calls = client.get(f"/api/v1/runs/{run.pk}/calls?content=true").json()["items"]
    assert [one["content"] for one in calls] == [None, None]
    for kind in ("csv", "json"):
        export = client.get(f"/api/v1/exports/calls?content=true&format={kind}")
        assert "The answer" not in text_of(export)


def test_the_api_and_exports_have_the_content_if_it_is_requested(boss: User) -> None:
    run, client = run_with_calls(), client_of(boss)
    plain = client.get(f"/api/v1/runs/{run.pk}/calls").json()["items"]
    assert [one["content"] for one in plain] == [None, None]
    first, second = client.get(f"/api/v1/runs/{run.pk}/calls?content=true").json()[
        "items"
    ]
    assert first["content"]["answer"] == "The answer is 42."
    assert first["content"]["prompt"][0]["text"] == "Which <b>?"
    assert (first["replay"], second["content"]) == ("prompt", None)
    export = "/api/v1/exports/calls?content=true&format="
    rows = json.loads(text_of(client.get(f"{export}json")))
    assert {one["id"]: one["content"] for one in rows} == {
        one["id"]: one["content"] for one in (first, second)
    }
    table = csv.DictReader(io.StringIO(text_of(client.get(f"{export}csv"))[1:]))
    assert "The answer is 42." in "".join(row["content"] for row in table)


async def test_the_form_the_api_and_the_command_replay_recorded_answers(
    workflow: Any, boss: User, sign_in: SignIn, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer() as server:
        await run_in_db(make_agent, server)
        server.script(Answer("Good day."))
        async with working(registry):
            origin = await ended((await run_in_db(system.execute, REPLAYED)).pk)
            page, made = await run_in_db(fork_everywhere, origin, boss, sign_in)
            forks = [await ended(pk) for pk in made]
        assert len(server.requests) == 1
    assert "Use 1 recorded answer<" in page.replace("\n", "").replace("  ", "")
    assert [one.result for one in forks] == [origin.result] * 3
    lineage = await run_in_db(
        lambda: text_of(sign_in(boss).get(f"/runs/{forks[0].pk}/"))
    )
    assert "reran step 1, with recorded answers" in lineage
    calls = AgentCall.objects.filter(run__in=forks, replay="replayed")
    assert await run_in_db(calls.count) == 3
    assert await run_in_db(CallContent.objects.count) == 4


def fork_everywhere(origin: Run, boss: User, sign_in: SignIn) -> tuple[str, list[Any]]:
    """Fork a run with its recorded answers by page, API and command; return their ids."""
    address = f"/runs/{origin.pk}/fork/?step=1"
    page = sign_in(boss)
    shown = text_of(page.get(address))
    page.post(address, {"reason": "once more", "answers": "recorded", "once": "a"})
    body = {"reason": "again", "from_step": 1, "answers": "recorded"}
    client = client_of(boss)
    made = client.post(
        f"/api/v1/runs/{origin.pk}/rerun", body, content_type="application/json"
    )
    assert made.status_code == 202, made.content
    del body["from_step"]
    refused = client.post(
        f"/api/v1/runs/{origin.pk}/rerun", body, content_type="application/json"
    )
    assert refused.status_code == 422
    call_command("rerun", str(origin.pk), "--from", "1", "--replay")
    with pytest.raises((SystemExit, CommandError)):
        call_command("rerun", str(origin.pk), "--replay")
    made_forks = Fork.objects.filter(origin_key=origin.pk).order_by("created_at")
    return shown, list(made_forks.values_list("run", flat=True))
