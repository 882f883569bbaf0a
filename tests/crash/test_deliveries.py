"""Messages arrive in order per destination although processes are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.crash.processes import Installation, kill, wait_for
from tests.support.receiver import Received, Receiver, Reply

pytestmark = pytest.mark.crash

FAST = {"WEBHOOK_SECONDS": "1"}  # a lease lasts as long as two attempts
RUNS, KILLS = 40, 25  # of the long test


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def first_arrivals(receiver: Receiver) -> list[str]:
    """Return the runs of the messages in the order in which they first arrived."""
    ids = (bare(one.body["data"]["run"]["id"]) for one in receiver.received)
    return list(dict.fromkeys(ids))


def bare(run_id: object) -> str:
    """Return the id of a run as 32 hex digits: SQLite stores it so."""
    return str(run_id).replace("-", "")


def expected_runs(installation: Installation, number: int) -> list[str]:
    """Return the runs of the messages to a destination, in its order."""
    rows = installation.ask(
        "SELECT destination.name, delivery.run_id FROM workflows_delivery AS delivery"
        " JOIN workflows_destination AS destination"
        " ON destination.id = delivery.destination_id ORDER BY delivery.id"
    )
    return [bare(run_id) for name, run_id in rows if name == f"receiver {number}"]


def are_delivered(installation: Installation, messages: int) -> bool:
    """Return whether a number of messages is delivered."""
    query = "SELECT COUNT(*) FROM workflows_delivery WHERE status = 'delivered'"
    return installation.ask(query) == [(messages,)]


def test_a_message_whose_process_is_killed_during_the_request_arrives_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    installation = Installation(tmp_path, **FAST)
    installation.drive("add_destinations", urls=[receiver.url])
    runs = installation.launch(count=4, rounds=0)
    with installation.worker("first") as first:

        def reply(_: Received) -> Reply:
            if len(receiver.received) == 2:
                os.kill(first.pid, signal.SIGKILL)  # before the result is committed
            return Reply()

        receiver.reply = reply
        wait_for(lambda: first.poll() is not None, what="the end of the worker")
    with installation.worker("second"):
        wait_for(partial(are_delivered, installation, 4), what="all messages")
    assert receiver.ids.count(receiver.ids[1]) == 2, (
        "the message is sent again with the same id"
    )
    assert len(set(receiver.ids)) == 4
    arrived = first_arrivals(receiver)
    assert arrived == expected_runs(installation, 0)
    assert set(arrived) == {bare(run) for run in runs}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_message_is_lost_or_out_of_order_while_every_process_is_killed(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    chosen = random.Random(16)  # noqa: S311 - no secret
    lock = threading.Lock()

    def reply(_: Received) -> Reply:
        with lock:
            return Reply(500) if chosen.random() < 0.1 else Reply()

    installation = Installation(
        tmp_path,
        database=migrated_url,
        redis=redis_url,
        MAX_RECOVERIES="1000",
        **FAST,
    )
    with Receiver() as one, Receiver() as two, ExitStack() as stack:
        receivers = [one, two]
        for receiver in receivers:
            receiver.reply = reply
        urls = [receiver.url for receiver in receivers]
        installation.drive("add_destinations", urls=urls)
        kinds: list[Callable[[], Any]] = [
            lambda: installation.worker(f"w-{chosen.random()}", capacity=3),
            lambda: installation.process("deliver"),
            lambda: installation.process("serve", "--no-worker", "--port", "0"),
        ]
        living = [(kind, stack.enter_context(kind())) for kind in [*kinds, kinds[0]]]
        runs = installation.launch(count=RUNS, rounds=1)
        for number in range(KILLS):
            target = (number + 1) * RUNS // (KILLS + 2)
            arrived = partial(has_arrived, receivers, target)
            wait_for(arrived, what=f"{target} messages")
            kind, process = living.pop(chosen.randrange(len(living)))
            kill(process)
            living.append((kind, stack.enter_context(kind())))
        all_delivered = partial(are_delivered, installation, 2 * RUNS)
        wait_for(all_delivered, what="all messages", seconds=240)
        for number, receiver in enumerate(receivers):
            arrived_runs = first_arrivals(receiver)
            assert arrived_runs == expected_runs(installation, number)
            assert set(arrived_runs) == {bare(run) for run in runs}
            assert len(set(receiver.ids)) == RUNS


def has_arrived(receivers: list[Receiver], count: int) -> bool:
    """Return whether a receiver has a number of messages."""
    return max(len(set(one.ids)) for one in receivers) >= count
