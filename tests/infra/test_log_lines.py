"""Log lines say which run and node they belong to, the author's own as well."""

from __future__ import annotations

import logging
import threading
from io import StringIO

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.utils.log import AdminEmailHandler
from django.utils.module_loading import import_string

from project.log import LineFormatter, OutagesInALine, RunContextFilter
from tests.support.workers import ended, working
from workflows.engine import State, Workflow, node, parallel
from workflows.infra.database_threads import run_in_db
from workflows.registry import Registry
from workflows.system import System

library = logging.getLogger("somebody.elses.library")


class Lines(logging.Handler):
    """Keeps lines as the server's log would have them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(OutagesInALine())
        self.addFilter(RunContextFilter())
        self.setFormatter(LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Lines:
    return Lines()


@node
async def speak(state: State) -> State:
    library.warning("in a task")
    return state


@node
def whisper(state: State) -> State:
    library.warning("in a thread, %s", threading.current_thread() is not None)
    return state.set(items=[1, 2])


@node
async def each(item: int) -> int:
    library.warning("item %d", item)
    return item


all_of_them = parallel(each, over="items", into="done")
talk = Workflow(
    "talk",
    state=State,
    start=speak,
    routes={speak: whisper, whisper: all_of_them},
)


@pytest.mark.django_db(transaction=True)
async def test_log_lines_of_a_node_carry_run_and_node(lines: Lines) -> None:
    registry = Registry()
    registry.register(talk)
    library.addHandler(lines)
    try:
        run = await run_in_db(System(registry).execute, "talk", {})
        async with working(registry):
            await ended(run.pk)
        library.warning("elsewhere")
    finally:
        library.removeHandler(lines)
    text = [line.split(": ", 1)[1] for line in lines.lines]
    assert text[0] == f"[{run.pk} speak] in a task"
    assert text[1] == f"[{run.pk} whisper] in a thread, True"
    assert sorted(text[2:4]) == [
        f"[{run.pk} {all_of_them.name}] item 1",
        f"[{run.pk} {all_of_them.name}] item 2",
    ]
    assert text[4] == "elsewhere"


def test_an_outage_takes_one_line_and_a_fault_its_traceback(lines: Lines) -> None:
    library.addHandler(lines)
    try:
        for error in (OperationalError("connection refused"), ValueError("mine")):
            library.error("It failed: %s", "so", exc_info=error)
    finally:
        library.removeHandler(lines)
    outage, fault = lines.lines
    assert outage.endswith("It failed: so (connection refused)")
    assert fault.endswith("ValueError: mine")


# Foreign host names ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example.org", "in valid", "x" * 2000])
def test_a_foreign_host_name_is_one_line_without_a_traceback(
    client: Client, host: str
) -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    for name in settings.LOGGING["handlers"]["stderr"]["filters"]:
        handler.addFilter(import_string(settings.LOGGING["filters"][name]["()"])())
    logging.getLogger().addHandler(handler)
    try:
        answer = client.get("/", headers={"host": host})
    finally:
        logging.getLogger().removeHandler(handler)
    assert answer.status_code == 400
    [line] = stream.getvalue().splitlines()
    assert " WARNING django.security.DisallowedHost: Invalid HTTP_HOST" in line
    assert host[:100] in line
    assert len(line) < 500


def test_no_logger_sends_mail() -> None:
    names = [None, *logging.root.manager.loggerDict]
    found = [one for name in names for one in logging.getLogger(name).handlers]
    assert not any(isinstance(one, AdminEmailHandler) for one in found)


def test_messages_to_an_unread_channel_are_not_logged_individually() -> None:
    """Until it expires, the channel of a killed process would fill the log."""
    logger = logging.getLogger("channels_redis.core")
    assert not logger.isEnabledFor(logging.INFO)
    assert logger.isEnabledFor(logging.WARNING)
