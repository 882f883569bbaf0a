"""What comes from outside and goes there, while processes are killed at each boundary.

Deliveries to incoming webhooks, batches, and mail; messages to webhooks are in
`test_deliveries.py`.
"""

from __future__ import annotations

import hmac
import importlib
import json
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.processes import Installation, kill, wait_for
from tests.support.mail_server import AnyPort, Inbox
from tests.support.servers import running_server

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SECRET = "a secret of the sender"
RECEIVING = "workflows.webhooks.receiving"
QUEUE = "workflows.deliveries.delivery_queue"
OF_ROWS = (
    "workflows.bulk:_launch before 7",
    "workflows.bulk:_launch after 11",  # the run is inserted, and not committed
    "workflows.bulk:_apply after 13",  # committed
)
ROWS = 60  # more than the command launches itself
FAST = {"WEBHOOK_SECONDS": "1", "WEBHOOKS_PER_MINUTE": "0", "MAX_RECOVERIES": "1000"}


def count_of(installation: Installation, table: str, where: str = "1 = 1") -> int:
    query = f"SELECT COUNT(*) FROM workflows_{table} WHERE {where}"  # noqa: S608 - ours
    return int(installation.ask(query)[0][0])


def is_reached(holds: Callable[[], int], number: int) -> bool:
    return holds() >= number


# Incoming webhooks ----------------------------------------------------------------------


class Sender:
    """Another system: sends each delivery until it is accepted, wherever the server is."""

    def __init__(self, path: str, bodies: list[dict[str, Any]]) -> None:
        self.url = ""  # of the server that runs now, with a slash at the end
        self.accepted: list[str] = []
        self._path, self._bodies = path, bodies
        self._changed = threading.Condition()
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._send_all, args=(bodies[number::2],))
            for number in range(2)
        ]

    def __enter__(self) -> Sender:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.use("", over=True)
        for thread in self._threads:
            thread.join()

    def use(self, url: str, *, over: bool = False) -> None:
        """Send to another server from now on."""
        with self._changed:
            self.url, self._is_over = url, over
            self._changed.notify_all()

    def _send_all(self, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            while not self._is_over and not self._send(body):
                pass

    def _send(self, body: dict[str, Any]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self.url or self._is_over)
            url = self.url
        if not url:
            return False
        text = json.dumps(body).encode()
        digest = hmac.new(SECRET.encode(), text, sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={digest}",
            "X-GitHub-Delivery": body["id"],
        }
        try:
            path = f"{url}hooks/{self._path}"
            response = httpx.post(path, content=text, headers=headers, timeout=30)
        except httpx.TransportError:
            with self._changed:  # the server is gone: until there is another one
                self._changed.wait_for(lambda: self.url != url or self._is_over, 0.5)
            return False
        if response.status_code != 202:
            return False
        self.accepted.append(body["id"])
        return True


def bodies_of(installation: Installation, count: int) -> list[dict[str, Any]]:
    """Return payloads whose runs leave their traces in different files."""
    return [
        {"id": f"d-{number}", "trace": f"{installation.trace}-{number}"}
        for number in range(count)
    ]


def assert_launched_once(installation: Installation, traces: list[str]) -> None:
    """Assert that there is one run for each of these traces."""
    rows = installation.ask("SELECT params FROM workflows_run")
    found = [
        json.loads(row)["trace"] if isinstance(row, str) else row["trace"]
        for (row,) in rows
    ]
    assert sorted(found) == sorted(traces)
    wait_for(installation.are_ended, what="the ends of the runs")
    statuses = installation.ask("SELECT DISTINCT status FROM workflows_run")
    assert statuses == [("completed",)]
    for trace in traces:
        steps = [line.split()[0] for line in Path(trace).read_text().splitlines()]
        assert len(set(steps)) == 3, trace


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(f"{RECEIVING}:_process before 2", marks=pytest.mark.slow),
        pytest.param(  # the run is inserted, and not committed
            f"{RECEIVING}:_process after 2", marks=pytest.mark.slow
        ),
        pytest.param(  # committed, and the sender does not know it
            f"{RECEIVING}:receive after 2", marks=pytest.mark.slow
        ),
    ],
)
def test_a_delivery_launches_one_run_over_a_kill_of_its_server(
    tmp_path: Path, moment: str
) -> None:
    installation = Installation(tmp_path, **FAST)
    path = installation.drive("add_webhook", secret=SECRET)
    bodies = bodies_of(installation, 5)
    with Sender(path, bodies) as sender:
        settings = installation.settings | {"KILL_IN": moment}
        with running_server(installation.data_dir, **settings) as server:
            sender.use(server.url)
            wait_for(partial(has_ended, server.process), what="its end")
        assert len(sender.accepted) < len(bodies)
        with running_server(installation.data_dir, **installation.settings) as server:
            sender.use(server.url)
            all_sent = partial(is_reached, lambda: len(sender.accepted), len(bodies))
            wait_for(all_sent, what="all deliveries")
            assert_launched_once(installation, [one["trace"] for one in bodies])
    assert count_of(installation, "webhookdelivery") == len(bodies)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deliveries_launch_one_run_each_while_servers_and_workers_are_killed(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    installation = Installation(
        tmp_path, database=migrated_url, redis=redis_url, **FAST
    )
    path = installation.drive("add_webhook", secret=SECRET)
    bodies = bodies_of(installation, 150)
    chosen = random.Random(11)  # noqa: S311 - no secret
    with ExitStack() as stack, Sender(path, bodies) as sender:
        worker = stack.enter_context(installation.worker("first", capacity=3))
        for number, target in enumerate(range(10, 150, 20)):
            settings = installation.settings
            with running_server(
                installation.data_dir, "--no-worker", **settings
            ) as server:
                sender.use(server.url)
                reached = partial(is_reached, lambda: len(sender.accepted), target)
                wait_for(reached, what=f"{target} deliveries", seconds=120)
                if chosen.random() < 0.5:
                    kill(worker)
                    name = f"worker-{number}"
                    worker = stack.enter_context(installation.worker(name))
        with running_server(installation.data_dir, "--no-worker", **settings) as server:
            sender.use(server.url)
            reached = partial(is_reached, lambda: len(sender.accepted), len(bodies))
            wait_for(reached, what="all deliveries", seconds=120)
        assert_launched_once(installation, [one["trace"] for one in bodies])
    assert count_of(installation, "webhookdelivery") == len(bodies)


# Batches --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_each_row_of_a_batch_launches_one_run_over_kills_of_its_workers(
    tmp_path: Path, kind: str
) -> None:
    installation = Installation(tmp_path, **FAST)
    installation.drive("add_boss")
    traces = [f"{installation.trace}-{number}" for number in range(ROWS)]
    file = tmp_path / f"rows.{kind}"
    rows = {
        "csv": ["trace,rounds", *(f"{one},0" for one in traces)],
        "jsonl": [json.dumps({"trace": one, "rounds": 0}) for one in traces],
    }
    file.write_text("\n".join(rows[kind]))
    installation.manage("launch_batch", "count", str(file), "--by", "boss")
    before = count_of(installation, "run")
    assert before < len(traces), "workers launch the runs"
    for number, moment in enumerate(OF_ROWS):
        with installation.worker(f"killed-{number}", KILL_IN=moment) as worker:
            wait_for(partial(has_ended, worker), what="the end of the worker")
    assert before < count_of(installation, "run") < len(traces)
    with installation.worker("last"):
        items = partial(count_of, installation, "bulkitem", "run_id IS NOT NULL")
        wait_for(partial(is_reached, items, len(traces)), what="all launches")
        assert_launched_once(installation, traces)
    (done,) = installation.ask("SELECT done, refused FROM workflows_bulkjob")
    assert tuple(done) == (len(traces), 0)


def has_ended(process: Any) -> bool:
    """Return whether a process was killed; one that ended otherwise proves nothing."""
    code = process.poll()
    assert code in {None, -signal.SIGKILL}, f"The process ended with {code}."
    return code is not None


def test_processes_are_killed_in_functions_that_exist() -> None:
    text = Path(__file__).read_text()
    text = text.replace("{RECEIVING}", RECEIVING).replace("{QUEUE}", QUEUE)
    places = set(re.findall(r"\"(workflows\.[a-z_.]+):(\w+) ", text))
    assert len(places) >= 5
    for module, function in places:
        assert callable(getattr(importlib.import_module(module), function))


# Mail -----------------------------------------------------------------------------------


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """Start an SMTP server; give it and its port."""
    inbox = Inbox()
    controller = AnyPort(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    yield inbox, controller.port
    controller.stop(no_assert=True)


def mail_to(port: int) -> dict[str, str]:
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), **FAST}


def expected_mail(installation: Installation) -> list[str]:
    """Return the ids of the messages by mail, in their order."""
    rows = installation.ask(
        "SELECT delivery.message_id FROM workflows_delivery AS delivery"
        " JOIN workflows_destination AS destination"
        " ON destination.id = delivery.destination_id"
        " WHERE destination.kind = 'mail' ORDER BY delivery.id"
    )
    return [str(row).replace("-", "") for (row,) in rows]


def arrived_mail(inbox: Inbox) -> list[str]:
    """Return the ids of the messages that arrived, repetitions included."""
    return [
        str(one["message-id"]).partition("@")[0].removeprefix("<msg_")
        for one in inbox.messages
    ]


def delivered(installation: Installation) -> int:
    return count_of(installation, "delivery", "status = 'delivered'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "repeated"),
    [
        ("the server has accepted it", 1),
        (f"{QUEUE}:record before 2", 1),  # not recorded
        (f"{QUEUE}:record after 2", 0),
        ("workflows.deliveries.expansion:_notify after 1", 0),  # not committed
    ],
)
def test_mail_arrives_in_order_over_a_kill_of_its_process(
    tmp_path: Path, inbox: tuple[Inbox, int], moment: str, repeated: int
) -> None:
    box, port = inbox
    installation = Installation(tmp_path, **mail_to(port))
    installation.drive("follow_by_mail", address="boss@example.org")
    installation.launch(count=4, rounds=0)
    given = {"KILL_IN": moment} if ":" in moment else {}
    worker = ["worker", "--name", "first", "--concurrency", "50"]
    with installation.process(*worker, **given) as first:

        def accepted(_: object) -> None:
            if not given and len(box.messages) == 2:
                os.kill(first.pid, signal.SIGKILL)

        box.accepted = accepted
        wait_for(partial(has_ended, first), what="the end of the worker")
    with installation.worker("second"):
        all_delivered = partial(is_reached, partial(delivered, installation), 4)
        wait_for(all_delivered, what="all mail")
    arrived = arrived_mail(box)
    assert list(dict.fromkeys(arrived)) == expected_mail(installation)
    assert len(arrived) == 4 + repeated


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_mail_is_lost_or_out_of_order_while_every_process_is_killed(
    migrated_url: str, redis_url: str, tmp_path: Path, inbox: tuple[Inbox, int]
) -> None:
    box, port = inbox
    runs, kills = 40, 12
    installation = Installation(
        tmp_path, database=migrated_url, redis=redis_url, **mail_to(port)
    )
    installation.drive("follow_by_mail", address="boss@example.org")
    chosen = random.Random(17)  # noqa: S311 - no secret
    kinds: list[Callable[[], Any]] = [
        lambda: installation.worker(f"w-{chosen.random()}", capacity=3),
        lambda: installation.process("deliver"),
    ]
    with ExitStack() as stack:
        living = [(kind, stack.enter_context(kind())) for kind in kinds]
        installation.launch(count=runs, rounds=1)
        for number in range(kills):
            target = (number + 1) * runs // (kills + 2)
            reached = partial(is_reached, lambda: len(set(arrived_mail(box))), target)
            wait_for(reached, what=f"{target} messages", seconds=120)
            kind, process = living.pop(chosen.randrange(len(living)))
            kill(process)
            living.append((kind, stack.enter_context(kind())))
        all_delivered = partial(is_reached, partial(delivered, installation), runs)
        wait_for(all_delivered, what="all mail", seconds=240)
    arrived = list(dict.fromkeys(arrived_mail(box)))
    assert arrived == expected_mail(installation)
    assert len(arrived) == runs
