"""The page that forks a run, and what run pages show of forks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pydantic import BaseModel

from tests.support.responses import text_of
from tests.support.workers import ended, until, working
from workflows import bulk
from workflows.audit.verifier import Checker
from workflows.engine import State, Workflow, approval, node, otherwise, predicate, when
from workflows.infra.database_threads import run_in_db
from workflows.models import BulkItem, Decision, Fork, ForkKind, Run, Stage, Status
from workflows.pages.live.consumers import render_run_part, run_permissions_of
from workflows.pages.run.shared_regions import POINT_IN_TIME, parts_of
from workflows.pages.run.view_options import RunView
from workflows.registry import registry
from workflows.services.fork_plans import ForkRequest
from workflows.system import system

pytestmark = [pytest.mark.django_db(transaction=True)]
SignIn = Callable[[User], Client]
NAME = "fork-page"


class Verdict(BaseModel):
    """Response of the approval."""

    outcome: Literal["send", "drop"] = "send"


class Mail(State):
    """State of the runs here."""

    amount: int = 3
    verdict: Verdict | None = None
    sent: bool = False


@node
async def price(state: Mail) -> Mail:
    return state.set(amount=state.amount + 1)


@predicate("amount {s.amount}")
def is_small(state: Mail) -> bool:
    return state.amount < 10


@node(effects="Sends an e-mail to the customer.")
async def send(state: Mail) -> Mail:
    if state.amount == 7:
        raise RuntimeError("no seven")
    return state.set(sent=True)


ask = approval("Send it?", answer=Verdict, into="verdict", name="ask")


@pytest.fixture
def workflow() -> Any:
    """Register the workflow for one test."""
    made = Workflow(
        NAME,
        state=Mail,
        start=price,
        routes={price: [when(is_small, send), otherwise(ask)], ask: send},
    )
    registry.register(made)
    yield made
    registry.unregister(NAME)


@pytest.fixture
def boss(transactional_db: None) -> User:
    return User.objects.create_superuser("boss")


async def finished() -> Run:
    """Return a run that has ended."""
    run = await run_in_db(lambda: system.execute(NAME))
    return await ended(run.pk)


def fork_of(origin: Run) -> Run:
    return Run.objects.get(forked_from=origin)


async def test_a_step_is_rerun_with_an_edited_state(
    workflow: Any, boss: User, sign_in: SignIn
) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        origin = await finished()
        address = f"/runs/{origin.pk}/fork/?step=2"
        page = await run_in_db(lambda: text_of(client.get(address)))
        assert "Sends an e-mail to the customer." in page
        assert "Step 1" in page or "Steps 1 to 1" in page
        values = {
            "reason": "More.",
            "once": "abc",
            "edit": "state",
            "state-amount": "8",
        }
        first = await run_in_db(lambda: client.post(address, values))
        again = await run_in_db(lambda: client.post(address, values))
        assert first.status_code == again.status_code == 302
        fork = await ended((await run_in_db(fork_of, origin)).pk)
    assert fork.status == Status.COMPLETED
    assert fork.result is not None
    assert fork.result["amount"] == 8
    shown = await run_in_db(lambda: text_of(client.get(f"/runs/{fork.pk}/")))
    assert "Lineage" in shown
    assert "boss reran step 2" in shown
    assert "shared" in shown
    back = await run_in_db(lambda: text_of(client.get(f"/runs/{origin.pk}/")))
    assert f"/runs/{fork.pk}/" in back
    assert "boss reran step 2" in back
    compared = await run_in_db(
        lambda: text_of(client.get(f"/compare/?a={origin.pk}&b={fork.pk}"))
    )
    assert "B is a fork of A with another state after step 1." in compared
    assert "<code>amount</code>" in compared
    assert await run_in_db(lambda: Checker().run(fork.pk)) == []


async def test_an_update_of_an_open_page_keeps_what_may_be_done_at_a_step(
    workflow: Any, boss: User, sign_in: SignIn
) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        origin = await finished()
    answer = await run_in_db(client.get, f"/runs/{origin.pk}/")
    shown = answer.content.decode()
    viewer = await run_in_db(run_permissions_of, origin.pk, boss)
    [part] = (
        one
        for one in parts_of(origin.pk, viewer, RunView())
        if one.regions == POINT_IN_TIME
    )
    updated = (await run_in_db(render_run_part, part)).regions["run-path"]
    for text in ("Rerun from here", "Take another edge", 'class="step-forks"'):
        assert text in shown
        assert updated.count(text) == shown.count(text), text


async def test_a_reason_is_required(workflow: Any, boss: User, sign_in: SignIn) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        origin = await finished()
    sent = {"once": "abc", "reason": " "}
    address = f"/runs/{origin.pk}/fork/?step=2"
    response = await run_in_db(lambda: client.post(address, sent))
    assert response.status_code == 422
    assert not await run_in_db(Fork.objects.exists)


async def test_another_edge_is_taken_and_shown_with_the_decision(
    workflow: Any, boss: User, sign_in: SignIn
) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        origin = await finished()
        run_page = await run_in_db(lambda: text_of(client.get(f"/runs/{origin.pk}/")))
        address = f"/runs/{origin.pk}/fork/?do=override&step=1"
        assert address.replace("&", "&amp;") in run_page
        page = await run_in_db(lambda: text_of(client.get(address)))
        assert "requested again" not in page
        wrong = {"reason": "A person decides.", "once": "y", "edge": "9"}
        refused = await run_in_db(lambda: client.post(address, wrong))
        assert refused.status_code == 422
        assert "9 is not one of the available choices" in refused.content.decode()
        sent = {"reason": "A person decides.", "once": "x", "edge": "1"}
        await run_in_db(lambda: client.post(address, sent))
        fork = await run_in_db(fork_of, origin)
        fork = await until(fork.pk, lambda run: run.waiting_node == "ask")
    shown = await run_in_db(lambda: text_of(client.get(f"/runs/{fork.pk}/")))
    assert "Taken by override: <b>Ask</b>" in shown
    assert "A person decides." in shown
    listed = await run_in_db(
        lambda: text_of(client.get("/decisions/?outcome=override"))
    )
    assert "override" in listed
    assert "boss" in listed
    compared = await run_in_db(
        lambda: text_of(client.get(f"/compare/?a={origin.pk}&b={fork.pk}"))
    )
    assert "After step 1" in compared
    made = await run_in_db(lambda: Decision.objects.get(kind="override"))
    assert (made.run_id, made.decided_by_id) == (fork.pk, boss.pk)


async def test_a_response_is_changed(
    workflow: Any, boss: User, sign_in: SignIn
) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        run = await run_in_db(lambda: system.execute(NAME))
        run = await ended(run.pk)
        sent = {"reason": "Ask.", "once": "x", "edge": "1"}
        override = f"/runs/{run.pk}/fork/?do=override&step=1"
        await run_in_db(lambda: client.post(override, sent))
        asked = await run_in_db(fork_of, run)
        await until(asked.pk, lambda one: one.waiting_node == "ask")
        await run_in_db(
            lambda: system.respond(
                asked.pk, {"outcome": "send"}, by=boss, comment="yes"
            )
        )
        await ended(asked.pk)
        address = f"/runs/{asked.pk}/fork/?do=response&step=2"
        assert (await run_in_db(lambda: client.get(address))).status_code == 200
        sent = {"reason": "No.", "once": "y", "response-outcome": "drop"}
        response = await run_in_db(lambda: client.post(address, sent))
        assert response.status_code == 302
        changed = await ended((await run_in_db(fork_of, asked)).pk)
    assert changed.result is not None
    assert changed.result["verdict"] == {"outcome": "drop"}
    row = await run_in_db(lambda: Fork.objects.get(run=changed))
    assert row.kind == ForkKind.RESPONSE


async def test_failed_runs_are_rerun_in_bulk_from_their_failed_step(
    workflow: Any, boss: User
) -> None:
    async with working():
        first = await finished()
        wrong = {"amount": 7, "verdict": None, "sent": False}
        failed = await run_in_db(lambda: _forked_with(first, wrong))
        failed = await ended(failed.pk)
        assert failed.status == Status.FAILED
        job = await run_in_db(
            lambda: bulk.start(
                bulk.BULK_ACTIONS["rerun-failed"],
                [failed, first],
                by=boss,
                reason="again",
            )
        )
        again = await ended((await run_in_db(fork_of, failed)).pk)
    results = await run_in_db(
        lambda: list(
            BulkItem.objects.filter(job=job)
            .order_by("position")
            .values_list("result", flat=True)
        )
    )
    assert results[0] == "done"
    assert results[1] != "done"
    kept = await run_in_db(
        lambda: Stage.objects.filter(run=again, inherited_from__isnull=False).count()
    )
    assert kept == 2  # the step before, and the edit


def _forked_with(origin: Run, state: dict[str, Any]) -> Run:
    return system.fork(origin.pk, ForkRequest(2, state=state), by=None)


async def test_the_command_previews_and_reruns(
    workflow: Any, boss: User, capsys: pytest.CaptureFixture[str]
) -> None:
    async with working():
        origin = await finished()
        await run_in_db(
            lambda: call_command("rerun", str(origin.pk), "--from", "2", "--preview")
        )
        shown = capsys.readouterr().out
        assert "Kept: 1 price" in shown
        assert "May repeat, send: Sends an e-mail" in shown
        assert not await run_in_db(Fork.objects.exists)
        await run_in_db(lambda: call_command("rerun", str(origin.pk), "--from", "2"))
        launched = capsys.readouterr().out
        fork = await ended(UUID(launched.split()[1]))
    assert fork.status == Status.COMPLETED
    with pytest.raises(SystemExit):
        await run_in_db(lambda: call_command("rerun", str(origin.pk), "--from", "9"))


async def test_the_api_previews_a_fork_without_making_one(
    workflow: Any, boss: User, sign_in: SignIn
) -> None:
    client = await run_in_db(lambda: sign_in(boss))
    async with working():
        origin = await finished()
    address = f"/api/v1/runs/{origin.pk}/fork-preview"

    def preview(query: str) -> Any:
        return client.get(f"{address}?{query}")

    found = (await run_in_db(preview, "step=2")).json()
    assert (found["shared_steps"], found["starts_at"]) == (1, "send")
    assert [one["node"] for one in found["kept"]] == ["price"]
    (step,) = found["again"]
    assert step["effects"] == "Sends an e-mail to the customer."
    found = (await run_in_db(preview, "step=1&kind=override&edge=1")).json()
    assert found["starts_at"] == "ask"
    assert [one["node"] for one in found["new"]] == ["ask"]
    refused = await run_in_db(preview, "step=1&kind=override&edge=7")
    assert (refused.status_code, refused.json()["code"]) == (409, "fork_refused")
    missing = await run_in_db(preview, "step=9")
    assert missing.json()["code"] == "step_not_found"
    assert not await run_in_db(Fork.objects.exists)
