"""Which workflow a node launches: the Workflow itself or a name, checked before a run is queued."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.workers import ended, working
from workflows.engine import State, Workflow, node, subworkflow
from workflows.engine.errors import DefinitionError
from workflows.errors import SubworkflowMissing
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")


class Out(State):
    """State of all runs here."""

    n: int = 0
    child: dict[str, Any] | None = None


@node
async def count(state: Out) -> Out:
    return state.set(n=state.n + 1)


def leaf() -> Workflow[Any]:
    """Return a workflow of one step."""
    return Workflow("leaf", state=Out, start=count, routes={})


def calling(child: Any, name: str) -> Workflow[Any]:
    """Return a workflow that runs another one and ends with its result."""
    call = subworkflow(child, {}, into="child", name="call")
    return Workflow(name, state=Out, start=call, routes={})


async def test_a_child_given_as_a_workflow_is_registered_with_its_parent(
    registry: Registry, person: User
) -> None:
    inner = leaf()
    registry.register(calling(calling(inner, "middle"), "top"))
    assert registry.get("leaf") is inner
    top = await run_in_db(System(registry).execute, "top", {}, by=person)
    async with working(registry):
        top = await ended(top.pk)
    assert top.result is not None, top.error_message
    assert top.result["child"]["child"]["n"] == 1


def test_another_workflow_of_the_name_of_a_child_is_refused(registry: Registry) -> None:
    registry.register(leaf())
    with pytest.raises(DefinitionError, match="Two workflows are called “leaf”"):
        registry.register(calling(leaf(), "top"))


def test_a_run_whose_child_workflow_is_unknown_is_not_queued(
    registry: Registry, person: User
) -> None:
    registry.register(calling("laef", "top"))
    with pytest.raises(SubworkflowMissing) as caught:
        System(registry).execute("top", {}, by=person)
    assert str(caught.value) == (
        "Workflow “top” cannot run: its node “call” launches the workflow “laef”, which is"
        " not registered. Correct the name, or pass the Workflow itself."
    )
    assert not Run.objects.exists()


async def test_a_child_whose_workflow_was_removed_meanwhile_fails_its_node(
    registry: Registry, person: User
) -> None:
    registry.register(leaf())
    registry.register(calling("leaf", "top"))
    top = await run_in_db(System(registry).execute, "top", {}, by=person)
    registry.unregister("leaf")
    async with working(registry):
        top = await ended(top.pk)
    assert (top.status, top.error_node) == (Status.FAILED, "call")
    assert "Workflow “leaf” not found" in top.error_message
    assert not await run_in_db(Run.objects.filter(parent=top).exists)


def test_unknown_children_and_their_invalid_params_are_refused_at_import(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.apps.apps.get_app_configs", list)
    call = subworkflow("leaf", {"n": "many"}, into="child", name="call")
    registry.register(Workflow("top", state=Out, start=call, routes={}))
    with pytest.raises(DefinitionError, match="“call” launches the workflow “leaf”"):
        registry.discover()

    class Counted(BaseModel):
        n: int = 0

    registry.register(
        Workflow("leaf", state=Out, params=Counted, start=count, routes={})
    )
    with pytest.raises(
        DefinitionError, match=r"does not accept its params: n: .*integer"
    ):
        registry.discover()
