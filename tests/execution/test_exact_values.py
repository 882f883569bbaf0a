"""Params, responses and results are exact on both databases, also those of child runs."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pydantic import BaseModel, Field, SecretStr

from tests.project.test_migrations import at_the_newest, migrate
from tests.support.factories import make_run
from tests.support.workers import ended, until, working
from workflows.agents.profiles import choose
from workflows.engine import (
    DefinitionError,
    State,
    Workflow,
    approval,
    node,
    subworkflow,
)
from workflows.errors import InvalidParams
from workflows.infra.database_threads import run_in_db
from workflows.models import Approval, Profile, Run, Status
from workflows.pages.lists.json_conditions import read
from workflows.registry import Registry
from workflows.runtime import PromptProfile
from workflows.system import System

__all__ = ["at_the_newest"]

VALUES = {"f": 1e22, "neg": -0.0, "one": 1.0, "order": {"b": 1, "a": 2}}


pytestmark = pytest.mark.usefixtures("quick")


class Answered(BaseModel):
    """A response whose fields have aliases."""

    values: dict[str, Any] = Field(alias="class")
    limit_: int = Field(1, alias="limit")


@node
def same(state: State) -> State:
    return state


def exactly(value: Any) -> str:
    """Return a value as text that distinguishes 1 from 1.0, 0.0 from -0.0, and orders of keys."""
    return json.dumps(value)


@pytest.mark.usefixtures("sealed")
async def test_params_answers_and_results_are_exact(
    registry: Registry, alice: User
) -> None:
    ask = approval("Right?", answer=Answered, into="answer", name="ask")
    call = subworkflow("child", lambda s: s["given"], into="child", name="call")
    registry.register(Workflow("child", state=State, start=same, routes={}))
    registry.register(Workflow("parent", state=State, start=call, routes={call: ask}))
    system = System(registry)
    run = await run_in_db(system.execute, "parent", {"given": VALUES})
    async with working(registry):
        await until(run.pk, lambda run: run.waiting_for == "approval")
        answer = {"class": VALUES, "limit": 7}
        await run_in_db(
            lambda: system.respond(run.pk, answer, by=alice, comment="Yes.")
        )
        run = await ended(run.pk)
    stored = await run_in_db(Approval.objects.get, run=run)
    child = await run_in_db(Run.objects.get, parent=run)
    assert run.status == Status.COMPLETED, run.error_message
    assert exactly(run.params) == exactly({"given": VALUES})
    assert exactly(child.params) == exactly(child.result) == exactly(VALUES)
    assert exactly(stored.response) == exactly(answer)
    assert list(stored.form["properties"]) == ["class", "limit"]
    result = {"given": VALUES, "child": VALUES, "answer": answer}
    assert exactly(run.result) == exactly(result)


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    ("params", "expected_text"),
    [
        ({"class": 7}, "class: Input should be a valid dictionary"),
        ({"class": {}, "lmit": 7}, "has no parameter “lmit”"),
        ({"class": {}, "limit": SecretStr("7")}, "a secret is never stored"),
    ],
    ids=["wrong", "unknown", "secret"],
)
async def test_a_child_that_cannot_start_is_not_queued_and_the_node_fails(
    registry: Registry, params: dict[str, Any], expected_text: str
) -> None:
    call = subworkflow("child", lambda _: params, into="child", name="call")
    child = Workflow("child", state=State, params=Answered, start=same, routes={})
    registry.register(child)
    registry.register(Workflow("parent", state=State, start=call, routes={}))
    run = await run_in_db(System(registry).execute, "parent", {})
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_node) == (Status.FAILED, "call")
    assert expected_text in run.error_message
    assert "pydantic" not in run.error_message
    assert not await run_in_db(Run.objects.filter(parent=run).exists)


def test_a_response_that_does_not_round_trip_is_refused(
    registry: Registry, alice: User
) -> None:
    class Lost(BaseModel):
        kept: int = 1
        gone: int = Field(2, exclude=True)

    ask = approval("Right?", answer=Lost, into="answer", name="ask")
    registry.register(Workflow("asks", state=State, start=ask, routes={}))
    run = make_run(workflow_name="asks", status=Status.WAITING)
    Approval.objects.create(run=run, sequence=1, node_name="ask", question="Right?")
    with pytest.raises(InvalidParams, match="“gone” cannot be stored"):
        System(registry).respond(run.pk, {"gone": 3}, by=alice)
    assert Approval.objects.get().status == "open"


@pytest.mark.parametrize(
    ("options", "expected_text"),
    [
        ({"stop": ("a", "b")}, "the option “stop” of prompt “say” would be read as"),
        ({"cost": Decimal(1)}, "the Decimal at “cost” cannot be stored"),
        ({"top": math.inf}, "JSON has no inf"),
    ],
    ids=["tuple", "decimal", "infinite"],
)
def test_options_of_a_prompt_that_no_run_could_read_are_refused(
    registry: Registry, options: dict[str, Any], expected_text: str
) -> None:
    prompts = {"say": PromptProfile(options=options)}
    flow = Workflow("says", state=State, start=same, routes={}, prompts=prompts)
    with pytest.raises(DefinitionError, match=f"(?i){expected_text}"):
        registry.register(flow)


@pytest.mark.django_db
def test_options_of_a_prompt_are_stored_exactly(registry: Registry) -> None:
    prompts = {"say": PromptProfile(options=VALUES)}
    flow = Workflow("says", state=State, start=same, routes={}, prompts=prompts)
    registry.register(flow)
    Profile.objects.create(
        workflow_name="says",
        name="p",
        stages={"say": {"options": {"x": 1e22}}},
    )
    _, kept = choose(flow, "p", uuid4())
    run = make_run(profile_stages=kept)
    run.refresh_from_db()
    assert exactly(run.profile_stages["say"]["options"]) == exactly(
        {**VALUES, "x": 1e22}
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_stored_before_the_migration_are_read_and_found_after_it(
    at_the_newest: None,
) -> None:
    old = migrate("0013_bulk_jobs").get_model("workflows", "Run")
    made = old.objects.create(workflow_name="old", params={"limit": 7}, graph={})
    migrate()
    assert Run.objects.get(pk=made.pk).params == {"limit": 7}
    (condition,) = read("params.limit = 7", ("params", "result"))
    assert list(Run.objects.filter(condition.q())) == [Run.objects.get()]
    assert Run.objects.filter(params__limit=7).exists()
    migrate("0013_bulk_jobs")
    assert old.objects.get(pk=made.pk).params == {"limit": 7}


def test_postgresql_finds_a_value_in_params_by_its_index(db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such index: newest rows are looked through.")
    make_run(params={"limit": 7})
    (condition,) = read("params.limit = 7", ("params", "result"))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = Run.objects.order_by().filter(condition.q()).explain()
    assert "run_params" in plan
