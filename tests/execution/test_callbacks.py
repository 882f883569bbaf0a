"""Callbacks: an address that works once, until the run continues, also after a crash."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pydantic import BaseModel

from tests.support.workers import SharedEvent, ended, reaches, until, working
from workflows.engine import State, Workflow, callback, node, otherwise, when_failed
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AuditEvent,
    EventMessage,
    EventWait,
    EventWaitStatus,
    LogLine,
    Run,
    Status,
    WaitKind,
)
from workflows.registry import registry as installed
from workflows.system import system

pytestmark = pytest.mark.usefixtures("sealed")

NAME = "ask-the-bank"
POSTS = 6


class Receipt(BaseModel):
    number: int


class Loan(State):
    receipt: Receipt | None = None
    refused: str = ""


class Bank:
    """The third party, which stores the addresses that it gets."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.entered, self.opened = SharedEvent(), SharedEvent()
        self.opened.set()
        self.fails = 0

    async def ask(self, _state: Loan, runtime: Any, url: str) -> None:
        self.urls.append(url)
        runtime.logger.info("asked with %s", url)
        self.entered.set()
        await self.opened.wait()
        if self.fails:
            self.fails -= 1
            raise ConnectionError(f"the bank does not answer {url}")

    @property
    def path(self) -> str:
        return urlsplit(self.urls[-1]).path


@node
def refuse(state: Loan) -> Loan:
    failure = state.failure
    return state.set(refused=failure.type if failure else "")


@node
def finish(state: Loan) -> Loan:
    return state


@pytest.fixture(autouse=True)
def no_sweep(settings: Any) -> None:
    settings.POLL_INTERVAL_SECONDS = 3_000


@pytest.fixture
def bank(transactional_db: None) -> Any:
    """Provide a bank, and install a workflow that requests a callback of it."""
    bank = Bank()
    install(bank)
    yield bank
    installed.unregister(NAME)


def install(bank: Bank, **options: Any) -> None:
    installed.unregister(NAME)
    asked = callback(bank.ask, Receipt, "receipt", name="asked", **options)
    installed.register(
        Workflow(
            NAME,
            state=Loan,
            start=asked,
            routes={asked: [when_failed(refuse), otherwise(finish)]},
        )
    )


async def launched() -> Run:
    return await run_in_db(system.execute, NAME, {})


async def waiting() -> Run:
    return await reaches((await launched()).pk, Status.WAITING)


def post(path: str, body: Any = None) -> Any:
    """Post to an address; return the response."""
    text = json.dumps({"number": 7} if body is None else body)
    try:
        return Client().post(path, text, content_type="application/json")
    finally:
        connection.close()


async def test_what_is_posted_to_the_address_moves_the_run(bank: Bank) -> None:
    async with working(installed):
        run = await waiting()
        assert run.waiting_for == WaitKind.CALLBACK
        response = await run_in_db(post, bank.path)
        run = await ended(run.pk)
    assert response.status_code == 202
    assert run.result is not None
    assert run.result["receipt"] == {"number": 7}
    events = await run_in_db(lambda: list(AuditEvent.objects.exclude(action="launch")))
    assert [(one.action, one.run_id) for one in events] == [("receive event", run.pk)]


async def test_the_address_is_in_no_row(bank: Bank) -> None:
    async with working(installed):
        run = await waiting()
        await run_in_db(post, bank.path)
        await ended(run.pk)
    token = bank.path.rpartition("/")[2]
    lines = await run_in_db(lambda: [line.message for line in LogLine.objects.all()])
    assert any("asked with" in line for line in lines)
    assert not any(token in line for line in lines)
    wait = await run_in_db(EventWait.objects.get)
    assert wait.address_id is not None
    assert token != wait.address_id.hex
    assert token.startswith(wait.address_id.hex)


async def test_an_address_works_once_also_for_requests_at_the_same_time(
    bank: Bank,
) -> None:
    async with working(installed):
        run = await waiting()
        with ThreadPoolExecutor(POSTS) as pool:
            posts = [
                asyncio.wrap_future(pool.submit(post, bank.path, {"number": number}))
                for number in range(POSTS)
            ]
            responses = await asyncio.gather(*posts)
        run = await ended(run.pk)
        again = await run_in_db(post, bank.path)
    statuses = sorted(one.status_code for one in responses)
    assert statuses == [202] + [409] * (POSTS - 1)
    assert again.status_code == 409
    message = await run_in_db(EventMessage.objects.get)
    assert run.result is not None
    assert run.result["receipt"] == message.value


async def test_a_post_before_the_run_waits_moves_it_when_it_does(
    bank: Bank,
) -> None:
    bank.opened = SharedEvent()
    async with working(installed):
        run = await launched()
        await asyncio.wait_for(bank.entered.wait(), 20)
        response = await run_in_db(post, bank.path)
        bank.opened.set()
        run = await ended(run.pk)
    assert response.status_code == 202
    assert run.result is not None
    assert run.result["receipt"] == {"number": 7}
    assert len(bank.urls) == 1


async def test_a_failed_try_keeps_the_address(bank: Bank) -> None:
    from workflows.engine import Retry

    bank.fails = 1
    install(bank, retry=Retry(attempts=2, on=ConnectionError))
    async with working(installed):
        run = await waiting()
        await run_in_db(post, bank.path)
        run = await ended(run.pk)
    assert len(bank.urls) == 2
    assert len(set(bank.urls)) == 1
    assert run.status == Status.COMPLETED


async def test_a_run_whose_worker_is_lost_after_the_request_keeps_the_address(
    bank: Bank,
) -> None:
    bank.opened = SharedEvent()
    async with working(installed, name="lost"):
        run = await launched()
        await asyncio.wait_for(bank.entered.wait(), 20)
        first = bank.path
        response = await run_in_db(post, first)
        # its lease is lost before it could record that it waits
        await run_in_db(Run.objects.filter(pk=run.pk).update, fence=1)
        bank.opened.set()
        await run_in_db(Run.objects.filter(pk=run.pk).expire)
    await run_in_db(queue.sweep)
    await run_in_db(Run.objects.filter(pk=run.pk).update, suspicion=0)
    async with working(installed):
        run = await ended(run.pk)
    assert response.status_code == 202
    assert run.result is not None
    assert run.result["receipt"] == {"number": 7}
    assert len(bank.urls) == 1  # no second request after the message has arrived


async def test_an_address_is_revoked_at_the_end_of_the_run_and_new_after_a_resume(
    bank: Bank,
) -> None:
    alice = await run_in_db(User.objects.create_superuser, "alice")
    async with working(installed):
        run = await waiting()
        first = bank.path
        await run_in_db(partial(system.cancel, run.pk, by=alice, reason="stop"))
        revoked = await run_in_db(post, first)
        await run_in_db(partial(system.resume, run.pk, by=alice, reason="go"))
        await until(run.pk, lambda run: run.status == "waiting" and run.attempt == 2)
        still = await run_in_db(post, first)
        response = await run_in_db(post, bank.path)
        run = await ended(run.pk)
    assert bank.path != first
    assert revoked.status_code == 410
    assert still.status_code in {404, 410}
    assert response.status_code == 202


async def test_an_address_expires(bank: Bank) -> None:
    install(bank, within=dt.timedelta(milliseconds=50))
    async with working(installed):
        run = await launched()
        run = await ended(run.pk)
        response = await run_in_db(post, bank.path)
    assert response.status_code == 410
    assert run.result is not None
    assert run.result["refused"] == "EventExpired"
    wait = await run_in_db(EventWait.objects.get)
    assert wait.status == EventWaitStatus.EXPIRED


async def test_content_that_does_not_fit_is_refused_and_can_be_corrected(
    bank: Bank, settings: Any
) -> None:
    settings.MAX_WEBHOOK_BYTES = 1_000
    async with working(installed):
        run = await waiting()
        refused = [
            await run_in_db(post, bank.path, body)
            for body in (
                {"number": "x"},
                [1],
                "text",
                {"number": 1, "more": "x" * 2_000},
            )
        ]
        accepted = await run_in_db(post, bank.path)
        await ended(run.pk)
    assert [one.status_code for one in refused] == [422, 400, 400, 413]
    assert accepted.status_code == 202


async def test_responses_reveal_nothing_and_only_post_is_accepted(bank: Bank) -> None:
    async with working(installed):
        run = await waiting()
    forged = bank.path[:-1] + ("A" if bank.path[-1] != "A" else "B")
    unknown = await run_in_db(post, forged)
    reading = await asyncio.to_thread(Client().get, bank.path)
    assert (unknown.status_code, reading.status_code) == (404, 405)
    for text in (unknown.content.decode(), reading.content.decode()):
        for word in (NAME, str(run.pk), "asked", "receipt"):
            assert word not in text


async def test_a_function_that_returns_a_state_fails_with_a_sentence(
    bank: Bank,
) -> None:
    async def ask(state: Loan, runtime: Any, url: str) -> Any:
        return state

    installed.unregister(NAME)
    asked = callback(ask, Receipt, "receipt", name="asked")
    installed.register(Workflow(NAME, state=Loan, start=asked, routes={}))
    async with working(installed):
        run = await ended((await launched()).pk)
    assert run.status == Status.FAILED
    assert "cannot change the state" in run.error_message
