"""Results of nodes, predicates and approvals that no row can store: the run reports it and ends."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.support.bad_values import DEEP
from tests.support.workers import ended, until, working
from workflows.engine import State, Workflow, approval, node, otherwise, predicate, when
from workflows.errors import InvalidParams
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Decision, LogLine, Run, Status
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def deep(levels: int) -> Any:
    """Return nested lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circle() -> Any:
    """Return a list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


BAD: dict[str, tuple[Any, str]] = {
    "NaN": (math.nan, "JSON has no nan"),
    "infinity": (-math.inf, "JSON has no -inf"),
    "half a surrogate": ("a\ud800", "half of a surrogate pair"),
    "NUL": ("a\x00", "NUL character"),
    "a NUL in a key": ({"a\x00": 1}, "NUL character"),
    "deep": (deep(DEEP), "nested more than 100 levels"),
    "deeper than Python goes": (deep(100_000), "nested more than 100 levels"),
    "a circle": (circle(), "nested more than 100 levels"),
    "a huge number": (10**5_000, "more than 4,300 digits"),
    "bytes": (b"a", "bytes"),
    "a set": ({1}, "set"),
    "a number as a key": ({1: 1}, "is no text"),
}


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Shorten the interval of sweeps."""
    settings.POLL_INTERVAL_SECONDS = 0.05


def only(workflow: Workflow[Any]) -> Registry:
    """Return a registry of one workflow."""
    registry = Registry()
    registry.register(workflow)
    return registry


async def run_of(workflow: Workflow[Any], by: User) -> Run:
    """Return a run of it that has ended."""
    registry = only(workflow)
    run = await run_in_db(System(registry).execute, workflow.name, by=by)
    async with working(registry):
        return await ended(run.pk)


@pytest.mark.parametrize("kind", BAD)
async def test_a_node_that_returns_an_unstorable_value_fails_its_run(
    alice: User, kind: str
) -> None:
    value, why = BAD[kind]

    @node
    def spoil(state: State) -> State:
        return state.set(found=value)

    run = await run_of(Workflow("spoil", state=State, start=spoil, routes={}), alice)
    assert run.status == Status.FAILED
    assert run.error_node == "spoil"
    assert why in run.error_message
    assert run.sequence == 0


COERCED = {"bytes", "a set", "a number as a key"}


class Free(BaseModel):
    """Any params."""

    model_config = {"extra": "allow"}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("takes", [None, Free])
def test_unstorable_values_are_refused_before_anything_is_queued(
    alice: User, kind: str, takes: type[BaseModel] | None
) -> None:
    @node
    def begin(state: State) -> State:
        return state

    if takes is Free and kind in COERCED:
        pytest.skip("Pydantic makes JSON of it.")
    registry = only(
        Workflow("begin", state=State, start=begin, routes={}, params=takes)
    )
    with pytest.raises(InvalidParams):
        System(registry).execute("begin", {"value": BAD[kind][0]}, by=alice)
    assert not Run.objects.exists()


TEXT = "a\x00b \ud800 <script> \u202e" + "c" * 100_000


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Disable logging: processes that run tests cannot exchange such texts."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_log_lines_and_errors_are_truncated_to_what_a_row_can_store(
    alice: User, sign_in: SignIn, unlogged: None
) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            return TEXT

    @node
    def shout(state: State, runtime: Any) -> State:
        runtime.logger.info(TEXT)
        runtime.logger.warning("%s", TEXT)
        raise Unspeakable

    run = await run_of(Workflow("shout", state=State, start=shout, routes={}), alice)
    assert run.status == Status.FAILED
    assert "characters in all)" in run.error_message
    lines = await run_in_db(lambda: list(LogLine.objects.filter(run=run)))
    assert len(lines) >= 2
    assert all(line.message.startswith("a\ufffdb ?") for line in lines[:2])
    client = await run_in_db(sign_in, alice)
    answer = await run_in_db(client.get, f"/runs/{run.pk}/")
    assert answer.status_code == 200


async def test_an_error_that_cannot_be_described_fails_only_its_run(
    alice: User,
) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    @node
    def hush(state: State) -> State:
        raise Silent

    run = await run_of(Workflow("hush", state=State, start=hush, routes={}), alice)
    assert run.status == Status.FAILED
    assert run.error_node == "hush"
    assert "Silent, whose text cannot be read" in run.error_message


async def test_a_reason_is_truncated_to_what_a_row_can_store(alice: User) -> None:
    @predicate(TEXT.replace("{", ""))
    def is_odd(state: State) -> bool:
        return True

    @node
    def begin(state: State) -> State:
        return state.set(value=1)

    @node
    def end(state: State) -> State:
        return state

    flow = Workflow(
        "odd",
        state=State,
        start=begin,
        routes={begin: [when(is_odd, end), otherwise(begin)]},
    )
    run = await run_of(flow, alice)
    reason = await run_in_db(lambda: Decision.objects.get(run=run, taken=True).reason)
    assert run.status == Status.COMPLETED
    assert reason.startswith("a\ufffdb ?")


class Review(BaseModel):
    """An answer."""

    outcome: str


@pytest.mark.parametrize(
    "shown",
    [
        {"text": TEXT},
        {"value": math.nan},
        {"value": deep(DEEP)},
        {"value": 10**5_000},
        {"document": 10**400, "pages": [10**400]},
        {
            "document": "00000000-0000-0000-0000-000000000000",
            "pages": [
                {
                    "page": 10**400,
                    "marks": [
                        {
                            "box": {
                                "left": 10**400,
                                "top": 0,
                                "right": 1,
                                "bottom": 1,
                            }
                        }
                    ],
                }
            ],
        },
    ],
    ids=range(6),
)
async def test_an_unstorable_question_fails_its_run_with_an_error_or_is_shown(
    alice: User, sign_in: SignIn, shown: dict[str, Any]
) -> None:
    ask = approval(
        "Is it right?", answer=Review, into="review", name="ask", show=lambda _: shown
    )
    flow = Workflow("asking", state=State, start=ask, routes={})
    registry = only(flow)
    run = await run_in_db(System(registry).execute, "asking", by=alice)
    async with working(registry):
        found = await until_still(run)
    assert found.status in {Status.WAITING, Status.FAILED}
    if found.status == Status.FAILED:
        assert found.error_message
    client = await run_in_db(sign_in, alice)
    for address in (f"/runs/{run.pk}/", "/approvals/", "/"):
        answer = await run_in_db(client.get, address)
        assert answer.status_code == 200


async def until_still(run: Run) -> Run:
    """Return the run when it has ended or waits."""
    return await until(run.pk, lambda one: one.status in {*ENDED, Status.WAITING})
