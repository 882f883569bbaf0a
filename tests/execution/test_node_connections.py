"""A node's database connections end with it: no node gets an open transaction of another."""

from __future__ import annotations

import pytest

from tests.crash.greedy.workflows import every_kind, left_open
from tests.support.workers import ended, working
from workflows.infra.database_threads import run_in_db
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_transaction_that_a_node_leaves_open_is_rolled_back_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    registry.register(left_open)
    async with working(registry):
        launched = await run_in_db(System(registry).execute, "left-open", {})
        run = await ended(launched.pk)
    assert run.status == "completed", run.error_message
    assert run.result is not None
    assert (run.result["autocommit"], run.result["groups"]) == ([True, True], 0)
    assert caplog.text.count("left a transaction open") == 2


async def test_nodes_of_every_kind_can_query_the_database() -> None:
    registry = Registry()
    registry.register(every_kind)
    async with working(registry):
        launched = await run_in_db(System(registry).execute, "every-kind", {})
        run = await ended(launched.pk)
    assert run.status == "completed", run.error_message
    assert run.result is not None
    assert run.result["counts"] == [0] * 5
