"""Pauses that a node did not request: the node is left, and runs again from its start."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.parts import Runs, sets, start
from workflows.engine import ExecutionError, Paused, State, node, parallel


class OutOfMoney(Paused):
    again = True


class Purse:
    """Has so many coins; without one a node pauses."""

    def __init__(self, coins: int) -> None:
        self.coins = coins
        self.spent: list[int] = []

    def pay(self, item: int = 0) -> None:
        if not self.coins:
            raise OutOfMoney("approval", question="More?")
        self.coins -= 1
        self.spent.append(item)


async def test_a_paused_node_can_be_resumed_without_a_response() -> None:
    runs, purse = Runs(), Purse(1)

    @node
    async def shop(state: State) -> State:
        purse.pay(1)
        purse.pay(2)
        return state.set(bought=2)

    graph = runs.line(shop, sets("done"))
    with pytest.raises(OutOfMoney) as caught:
        await graph.execute(start())
    assert (caught.value.node, caught.value.sequence) == ("shop", 1)
    purse.coins = 2
    end = await graph.resume("r1", enter="shop")
    assert end["bought"] == 2
    assert purse.spent == [1, 1, 2]


async def test_running_items_finish_and_are_stored_while_the_rest_waits() -> None:
    runs, purse = Runs(), Purse(2)
    both = asyncio.Event()

    @node
    async def buy(item: int) -> int:
        purse.pay(item)
        if len(purse.spent) == 2:
            both.set()
        await both.wait()
        return item * 10

    buy_all = parallel(buy, over="items", into="bought", limit=3, name="buy_all")
    graph = runs.line(buy_all, sets("done"))
    with pytest.raises(OutOfMoney):
        await graph.execute(start(items=[1, 2, 3, 4]))
    assert purse.spent == [1, 2]
    purse.coins = 2
    end = await graph.resume("r1", enter="buy_all")
    assert list(end["bought"]) == [10, 20, 30, 40]
    assert purse.spent == [1, 2, 3, 4]


async def test_a_failure_takes_precedence_over_a_concurrent_pause() -> None:
    runs, purse = Runs(), Purse(0)

    @node
    async def buy(item: int) -> int:
        if item == 1:
            raise ValueError("sold out")
        purse.pay(item)
        return item

    buy_all = parallel(buy, over="items", into="bought", limit=2, name="buy_all")
    with pytest.raises(ExecutionError, match="sold out"):
        await runs.line(buy_all, sets("done")).execute(start(items=[1, 2]))


async def test_a_pause_propagates_out_of_task_groups() -> None:
    runs, purse = Runs(), Purse(0)

    @node
    async def shop(state: State) -> State:
        async def inner() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(purse.pay))

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
        return state

    with pytest.raises(OutOfMoney):
        await runs.line(shop, sets("done")).execute(start())
