"""A run whose nodes spill its token, in every way they can: it is recorded as “•••”."""

from __future__ import annotations

import io
import logging

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from project.log import LineFormatter
from tests.infra.test_secrets import everything_stored
from tests.support.workers import ended, reaches, working
from workflows.engine import (
    Retry,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    predicate,
    when,
)
from workflows.execution.masking import MASK, Masker
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Run
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = 'token+of "one" läunch'  # looks different in JSON and in an address
tries: list[int] = []
own_logger = logging.getLogger("tests.spills")


class Review(BaseModel):
    fine: bool = True


class Spilled(State):
    spilled: str = ""
    items: tuple[int, ...] = (1, 2)
    kept: tuple[str, ...] = ()
    review: Review | None = None


@predicate("it has {s.spilled}")
def has_spilled(state: Spilled) -> bool:
    return not state.spilled


@node(retry=Retry(attempts=2, wait=0))
def spill(state: Spilled, runtime: Runtime) -> Spilled:
    token = state.secret("token")
    if not tries:
        tries.append(1)
        runtime.logger.info("the token is %s", token)
        own_logger.warning("the token is %s", token)
        raise ValueError(f"the first try used {token}")
    return state.set(spilled=token)


def item_of(number: int, runtime: Runtime) -> str:
    return f"{number} {TOKEN}"


@node
def fails(state: Spilled) -> Spilled:
    raise RuntimeError(f"refused: {state.secret('token')}") from ValueError(TOKEN)


spill_items = parallel(item_of, over="items", into="kept", name="spill-items")
ask = approval(
    "Is {s.spilled} right?",
    Review,
    "review",
    name="ask",
    show=lambda state: {"spilled": state.spilled},
)
workflow = Workflow(
    "spilling",
    state=Spilled,
    start=spill,
    routes={
        spill: [when(has_spilled, fails), otherwise(spill_items)],
        spill_items: ask,
        ask: fails,
    },
)
registry = Registry()
registry.register(workflow)
system = System(registry)


async def test_what_a_run_spills_of_its_token_is_recorded_masked(admin: User) -> None:
    tries.clear()
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    handler.setFormatter(LineFormatter())
    logging.getLogger().addHandler(handler)
    try:
        async with working(registry):
            launched = await run_in_db(system.execute, "spilling", token=TOKEN)
            await reaches(launched.pk, "waiting")
            await run_in_db(system.answer, launched.pk, {}, by=admin, comment="It is.")
            run = await ended(launched.pk)
    finally:
        logging.getLogger().removeHandler(handler)
    assert run.status == "failed"
    assert run.error_message.endswith(f"refused: {MASK}")
    stored = await run_in_db(everything_stored)
    for text in (stored, printed.getvalue()):
        assert MASK in text
        for secret in (TOKEN, "token+of", "token%2Bof", r"l\u00e4unch"):
            assert secret not in text
    checkpoints = await run_in_db(list, Checkpoint.objects.filter(run=run))
    assert any(r"\u2022\u2022\u2022" in row.data for row in checkpoints)
    assert await run_in_db(Run.objects.filter(secrets=None).count) == 1


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_a_secret_of_a_few_characters_garbles_no_text(secret: str) -> None:
    assert Masker([secret]).text("abc and a cat") == "abc and a cat"


def test_of_two_secrets_the_longer_one_is_replaced_whole() -> None:
    assert Masker(["secret", "secret-and-more"]).text("secret-and-more") == MASK
