"""Variables and secrets: who reads them, when they apply, and that secrets stay secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine import isolated_nodes
from tests.infra.test_secrets import everything_stored
from tests.support.workers import ended, working
from workflows.engine import State, Workflow, node
from workflows.execution import variables
from workflows.execution.masking import MASK
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status, Variable
from workflows.registry import Registry
from workflows.runtime import Runtime, Unavailable
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cr3t of the bank"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    variables.forget()
    yield
    variables.forget()


def add(name: str, value: str = "", *, secret: str = "", readers: list[str]) -> None:
    Variable.objects.create(
        name=name,
        value=value,
        is_secret=bool(secret),
        secret=variables.encrypted(secret) if secret else None,
        workflows=readers,
    )


async def run_of(step: Any, name: str = "reads") -> Run:
    """Execute a workflow of one node to its end."""
    registry = Registry()
    registry.register(Workflow(name, state=State, start=step, routes={}))
    async with working(registry):
        run = await run_in_db(System(registry).execute, name, {})
        return await ended(run.pk)


@node
async def reads_both(state: State, runtime: Runtime) -> State:
    """Read a variable and a secret, and write the secret wherever it has to be masked."""
    secret = runtime.secrets["bank"]
    runtime.logger.info("with %s", secret)
    runtime.progress(1, text=secret)
    return state.set(
        host=runtime.variables["smtp_host"],
        size=len(secret),
        spilled=f"key={secret}",
        names=sorted(runtime.secrets),
        text=repr(runtime.secrets),
    )


async def test_a_node_reads_what_its_workflow_may_read() -> None:
    await run_in_db(add, "smtp_host", "mail.example", readers=["reads", "other"])
    await run_in_db(lambda: add("bank", secret=SECRET, readers=["reads"]))
    await run_in_db(lambda: add("vault", secret="of others", readers=["other"]))
    run = await run_of(reads_both)
    assert run.status == Status.COMPLETED, run.error_message
    assert run.result is not None
    assert run.result["host"] == "mail.example"
    assert run.result["size"] == len(SECRET)
    assert run.result["names"] == ["bank"]
    assert run.result["text"] == "<secrets of reads: bank>"
    assert run.result["spilled"] == f"key={MASK}"
    stored = await run_in_db(everything_stored)
    assert SECRET not in stored
    assert MASK in stored


@pytest.mark.parametrize("kind", ["variable", "secret"])
async def test_a_variable_that_the_workflow_may_not_read_fails_the_node_with_a_sentence(
    kind: str,
) -> None:
    @node
    async def step(state: State, runtime: Runtime) -> State:
        values = runtime.variables if kind == "variable" else runtime.secrets
        assert values.get("vault") is None
        return state.set(value=values["vault"])

    await run_in_db(lambda: add("vault", secret="of others", readers=["other"]))
    run = await run_of(step)
    assert run.status == Status.FAILED
    assert run.error_message.removeprefix("At “step”: the node failed: ") == (
        f"There is no {kind} “vault” that reads may read: an administrator adds it, or"
        " adds the workflow to it, under Variables."
    )


async def test_a_change_in_this_process_applies_to_the_next_attempt() -> None:
    @node
    async def step(state: State, runtime: Runtime) -> State:
        return state.set(host=runtime.variables["smtp_host"])

    await run_in_db(add, "smtp_host", "one", readers=["reads"])
    assert (await run_of(step)).result == {"host": "one"}
    await run_in_db(lambda: Variable.objects.update(value="two"))
    variables.forget()
    assert (await run_of(step)).result == {"host": "two"}


async def test_a_change_by_another_process_applies_when_the_values_are_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @node
    async def step(state: State, runtime: Runtime) -> State:
        return state.set(host=runtime.variables["smtp_host"])

    await run_in_db(add, "smtp_host", "one", readers=["reads"])
    await run_of(step)
    await run_in_db(lambda: Variable.objects.update(value="two"))
    assert (await run_of(step)).result == {"host": "one"}
    monkeypatch.setattr(variables, "MAX_AGE_SECONDS", 0)
    assert (await run_of(step)).result == {"host": "two"}


async def test_a_node_in_a_child_process_reads_variables_and_secrets() -> None:
    await run_in_db(add, "smtp_host", "mail.example", readers=["reads"])
    await run_in_db(lambda: add("bank", secret=SECRET, readers=["reads"]))
    registry = Registry()
    case = isolated_nodes.Case
    registry.register(
        Workflow("reads", state=case, start=isolated_nodes.reads_variables, routes={})
    )
    async with working(registry):
        run = await run_in_db(System(registry).execute, "reads", {})
        run = await ended(run.pk)
    assert run.result is not None, run.error_message
    assert run.result["path"] == f"mail.example {MASK}"


def test_a_secret_of_another_secret_key_is_reported_when_it_is_read(
    settings: Any,
) -> None:
    add("bank", secret=SECRET, readers=["reads"])
    settings.SECRET_KEY = "another"
    found = variables.build(list(Variable.objects.all()), "reads", lambda _: None)
    assert "bank" in found.secrets
    with pytest.raises(Unavailable, match="“bank” cannot be decrypted"):
        found.secrets["bank"]
