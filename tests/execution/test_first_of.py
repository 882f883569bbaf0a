"""The deferred choice: exactly one of several waits ends, the others are withdrawn with it."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pydantic import BaseModel

from tests.execution.test_callbacks import Bank, Receipt, post
from tests.support.workers import SharedEvent, ended, reaches, until, working
from workflows.engine import (
    State,
    Workflow,
    approval,
    callback,
    event,
    first_of,
    node,
    otherwise,
    sleep,
    when,
    when_failed,
)
from workflows.errors import AlreadyAnswered
from workflows.execution import event_delivery, queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalStatus,
    Decision,
    EventMessage,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Outcome,
    Run,
    Status,
    WaitKind,
)
from workflows.registry import registry as installed
from workflows.system import system

pytestmark = pytest.mark.usefixtures("sealed")

NAME = "settle-order"
LONG = dt.timedelta(days=3)
SHORT = dt.timedelta(milliseconds=50)
ROUNDS = 6  # of a race


class Payment(BaseModel):
    amount: int


class Review(BaseModel):
    outcome: str


class Order(State):
    number: str = "42"
    payment: Payment | None = None
    receipt: Receipt | None = None
    review: Review | None = None
    first: str = ""
    second: Payment | None = None
    path: str = ""


@node
def ship(state: Order) -> Order:
    return state.set(path=state.path or "ship")


@node
def judge(state: Order) -> Order:
    return state.set(path="judge")


@node
def remind(state: Order) -> Order:
    return state.set(path="remind")


@node
def refuse(state: Order) -> Order:
    return state.set(path=state.failure.type if state.failure else "")


@pytest.fixture(autouse=True)
def no_sweep(settings: Any) -> None:
    settings.POLL_INTERVAL_SECONDS = 3_000


@pytest.fixture
def alice(transactional_db: None) -> User:
    return User.objects.create_superuser("alice")


@pytest.fixture
def bank(transactional_db: None) -> Any:
    """A bank, and the installed workflow that waits for it, among others."""
    bank = Bank()
    install(bank)
    yield bank
    installed.unregister(NAME)


def install(
    bank: Bank, timer: dt.timedelta = LONG, *, twice: bool = False, **options: Any
) -> None:
    installed.unregister(NAME)
    paid = event("payment", Payment, "payment", key=lambda s: s.number, name="paid")
    asked = callback(bank.ask, Receipt, "receipt", name="asked")
    review = approval("Ship?", Review, "review", name="review", **options)
    late = sleep(timer, name="late")
    choice = first_of(paid, asked, review, late, into="first", name="choice")
    again = event("payment", Payment, "second", key=lambda s: s.number, name="again")
    paid_route = again if twice else ship
    installed.register(
        Workflow(
            NAME,
            state=Order,
            start=choice,
            routes={
                choice: [
                    when_failed(refuse),
                    when(choice.was(review), judge),
                    when(choice.was(late), remind),
                    otherwise(ship),
                ],
                judge: paid_route,
            },
        )
    )


async def waiting() -> Run:
    run = await run_in_db(system.execute, NAME, {})
    return await reaches(run.pk, Status.WAITING)


def waits() -> dict[str, str]:
    """Return the status of each wait, by node."""
    rows = EventWait.objects.order_by("sequence", "position")
    return {row.node_name: row.status for row in rows}


def send(amount: int = 7) -> Any:
    (sent,) = system.send("payment", "42", {"amount": amount}, by=None)
    return sent


def respond(run: Run, by: User, outcome: str = "yes") -> None:
    system.respond(run.pk, {"outcome": outcome}, by=by, comment="because")


def choices(run: Run) -> list[tuple[str, bool, str]]:
    rows = Decision.objects.filter(run=run.pk, to_node="choice").order_by("edge_index")
    return [(row.from_node, row.taken, row.reason) for row in rows]


async def test_a_run_waits_for_all_of_them(bank: Bank) -> None:
    async with working(installed):
        run = await waiting()
    assert run.waiting_for == WaitKind.FIRST_OF
    rows = await run_in_db(lambda: [*EventWait.objects.order_by("position")])
    assert [(row.node_name, row.kind, row.status) for row in rows] == [
        ("paid", EventWaitKind.EVENT, "open"),
        ("asked", EventWaitKind.CALLBACK, "open"),
        ("review", EventWaitKind.APPROVAL, "open"),
        ("late", EventWaitKind.TIMER, "open"),
    ]
    assert rows[-1].expires_at == run.wake_at
    request = await run_in_db(Approval.objects.get)
    assert (request.status, request.node_name) == (ApprovalStatus.OPEN, "review")


async def test_a_message_that_comes_first_withdraws_the_others(
    bank: Bank, alice: User
) -> None:
    async with working(installed):
        run = await waiting()
        await run_in_db(send)
        with pytest.raises(AlreadyAnswered, match="“paid” came first"):
            await run_in_db(respond, run, alice)
        run = await ended(run.pk)
        late_post = await run_in_db(post, bank.path)
    assert run.result is not None
    assert (run.result["first"], run.result["path"]) == ("paid", "ship")
    assert run.result["payment"] == {"amount": 7}
    assert late_post.status_code == 410
    assert await run_in_db(waits) == {
        "paid": EventWaitStatus.RECEIVED,
        "asked": EventWaitStatus.WITHDRAWN,
        "review": EventWaitStatus.WITHDRAWN,
        "late": EventWaitStatus.WITHDRAWN,
    }
    request = await run_in_db(Approval.objects.get)
    assert request.status == ApprovalStatus.WITHDRAWN
    assert request.withdrawn_reason == "“paid” came first"
    assert await run_in_db(choices, run) == [
        ("paid", True, "“paid” came first, from system"),
        ("asked", False, "“asked” was withdrawn: “paid” came first"),
        ("review", False, "“review” was withdrawn: “paid” came first"),
        ("late", False, "“late” was withdrawn: “paid” came first"),
    ]


async def test_a_response_that_comes_first_withdraws_the_others(
    bank: Bank, alice: User
) -> None:
    async with working(installed):
        run = await waiting()
        await run_in_db(respond, run, alice)
        run = await ended(run.pk)
        late_post = await run_in_db(post, bank.path)
        sent = await run_in_db(send)
    assert run.result is not None
    assert (run.result["first"], run.result["path"]) == ("review", "judge")
    assert run.result["review"] == {"outcome": "yes"}
    assert late_post.status_code == 410
    assert sent.is_kept
    found = await run_in_db(choices, run)
    assert [taken for _, taken, _ in found] == [False, False, True, False]
    row = await run_in_db(
        Decision.objects.select_related("decided_by").get, from_node="review"
    )
    assert row.decided_by == alice


async def test_a_callback_that_comes_first_withdraws_the_others(
    bank: Bank, alice: User
) -> None:
    async with working(installed):
        run = await waiting()
        response = await run_in_db(post, bank.path)
        run = await ended(run.pk)
        again = await run_in_db(post, bank.path)
        with pytest.raises(AlreadyAnswered, match="“asked” came first"):
            await run_in_db(respond, run, alice)
    assert (response.status_code, again.status_code) == (202, 409)
    assert run.result is not None
    assert (run.result["first"], run.result["path"]) == ("asked", "ship")


async def test_a_time_that_comes_first_withdraws_the_others(
    bank: Bank, alice: User
) -> None:
    install(bank, SHORT)
    async with working(installed):
        run = await run_in_db(system.execute, NAME, {})
        run = await ended(run.pk)
        with pytest.raises(AlreadyAnswered, match="“late” came first"):
            await run_in_db(respond, run, alice)
    assert run.result is not None
    assert (run.result["first"], run.result["path"]) == ("late", "remind")
    found = await run_in_db(choices, run)
    assert found[-1] == ("late", True, "“late” came first: its time had come")


@pytest.mark.parametrize("is_declared", [True, False], ids=["response", "failure"])
async def test_an_approval_that_expires_comes_first(
    bank: Bank, is_declared: bool
) -> None:
    options: dict[str, Any] = {"on_expiry": {"outcome": "none"}} if is_declared else {}
    install(bank, within=SHORT, **options)
    async with working(installed):
        run = await run_in_db(system.execute, NAME, {})
        run = await ended(run.pk)
    assert run.result is not None
    wanted = ("review", "judge") if is_declared else ("", "ApprovalExpired")
    assert (run.result["first"], run.result["path"]) == wanted
    statuses = await run_in_db(waits)
    assert statuses["review"] == EventWaitStatus.EXPIRED
    assert statuses["late"] == EventWaitStatus.WITHDRAWN
    found = await run_in_db(choices, run)
    assert found[2] == ("review", True, "“review” came first: it expired")


async def test_of_two_times_that_have_passed_only_the_earlier_one_counts(
    bank: Bank,
) -> None:
    install(bank, within=dt.timedelta(days=1), on_expiry={"outcome": "none"})
    async with working(installed):
        run = await waiting()
    ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)

    def pass_both() -> None:
        waits = EventWait.objects.filter(run=run)
        waits.filter(node_name="late").update(expires_at=ago)
        earlier = ago - dt.timedelta(minutes=1)
        waits.filter(node_name="review").update(expires_at=earlier)
        Approval.objects.filter(run=run).update(expires_at=earlier)
        Run.objects.filter(pk=run.pk).update(wake_at=earlier)

    await run_in_db(pass_both)
    await run_in_db(queue.sweep)
    statuses = await run_in_db(waits)
    assert (statuses["review"], statuses["late"]) == ("expired", "withdrawn")
    async with working(installed):
        run = await ended(run.pk)
    assert run.result is not None
    assert run.result["first"] == "review"


async def test_a_message_that_was_kept_comes_first(bank: Bank) -> None:
    await run_in_db(send, 3)
    async with working(installed):
        run = await run_in_db(system.execute, NAME, {})
        run = await ended(run.pk)
    assert run.result is not None
    assert (run.result["first"], run.result["payment"]) == ("paid", {"amount": 3})


async def test_what_is_posted_before_the_run_waits_comes_first(
    bank: Bank, alice: User
) -> None:
    bank.opened = SharedEvent()
    async with working(installed):
        run = await run_in_db(system.execute, NAME, {})
        await asyncio.wait_for(bank.entered.wait(), 20)
        response = await run_in_db(post, bank.path)
        bank.opened.set()
        run = await ended(run.pk)
        with pytest.raises(AlreadyAnswered, match="“asked” came first"):
            await run_in_db(respond, run, alice)
    assert response.status_code == 202
    assert run.result is not None
    assert run.result["first"] == "asked"
    assert len(bank.urls) == 1


# Races ------------------------------------------------------------------------------------


async def test_of_answers_at_the_same_time_exactly_one_wins(
    bank: Bank, alice: User
) -> None:
    install(bank, twice=True)

    def in_thread(action: Any) -> str:
        try:
            return str(action())
        except AlreadyAnswered as error:
            return str(error.status)
        finally:
            connection.close()

    async with working(installed):
        for _ in range(ROUNDS):
            run = await waiting()
            actions = [
                lambda: post(bank.path).status_code,
                partial(respond, run, alice),
                lambda: "kept" if send().is_kept else "taken",
            ]
            with ThreadPoolExecutor(len(actions)) as pool:
                results = await asyncio.gather(
                    *(
                        asyncio.wrap_future(pool.submit(in_thread, action))
                        for action in actions
                    )
                )
            rows = await run_in_db(list, EventWait.objects.filter(run=run, sequence=1))
            (first,) = [row for row in rows if row.status == EventWaitStatus.RECEIVED]
            assert [row.status for row in rows].count(EventWaitStatus.WITHDRAWN) == 3
            wins = {
                "asked": results[0] == "202",
                "review": results[1] == "None",
                "paid": results[2] == "taken" and first.node_name == "paid",
            }
            assert [name for name, has_won in wins.items() if has_won] == [
                first.node_name
            ], results
            assert results[0] in {"202", "409", "410"}
            assert results[1] in {"None", "409"}
            if first.node_name == "review":
                # the message is taken by the next wait of the run, not lost
                run = await ended(run.pk)
                assert run.result is not None
                assert run.result["second"] == {"amount": 7}
            else:
                run = await ended(run.pk)
            assert run.result is not None
            assert run.result["first"] == first.node_name
            await run_in_db(EventMessage.objects.filter(delivered_at=None).delete)


# Cancel, resume, deadline -----------------------------------------------------------------


async def test_a_cancel_withdraws_all_and_a_resume_waits_for_all_again(
    bank: Bank, alice: User
) -> None:
    async with working(installed):
        run = await waiting()
        first = bank.path
        await run_in_db(partial(system.cancel, run.pk, by=alice, reason="stop"))
        assert set((await run_in_db(waits)).values()) == {EventWaitStatus.WITHDRAWN}
        request = await run_in_db(Approval.objects.get)
        assert request.withdrawn_reason == "its run was cancelled"
        await run_in_db(partial(system.resume, run.pk, by=alice, reason="go"))
        await until(run.pk, lambda run: run.status == "waiting" and run.attempt == 2)
        assert set((await run_in_db(waits)).values()) == {EventWaitStatus.OPEN}
        request = await run_in_db(Approval.objects.get)
        assert (request.status, request.withdrawn_reason) == ("open", "")
        assert (await run_in_db(post, first)).status_code in {404, 410}
        assert (await run_in_db(post, bank.path)).status_code == 202
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED


async def test_a_deadline_withdraws_all(bank: Bank) -> None:
    async with working(installed):
        launch = partial(
            system.execute, NAME, {}, deadline=dt.timedelta(milliseconds=300)
        )
        run = await run_in_db(launch)
        run = await ended(run.pk)
    assert set((await run_in_db(waits)).values()) == {EventWaitStatus.WITHDRAWN}
    request = await run_in_db(Approval.objects.get)
    assert request.withdrawn_reason == "the deadline of its run has passed"


# Crashes ----------------------------------------------------------------------------------


async def lose(run: Run) -> None:
    """Let the worker that holds a run lose it, as when its process is killed."""
    await run_in_db(Run.objects.filter(pk=run.pk).expire)
    await run_in_db(queue.sweep)
    await run_in_db(Run.objects.filter(pk=run.pk).update, suspicion=0)


async def test_a_worker_lost_after_a_callback_was_given_away_keeps_its_address(
    bank: Bank,
) -> None:
    bank.opened = SharedEvent()
    async with working(installed, name="lost"):
        run = await run_in_db(system.execute, NAME, {})
        await asyncio.wait_for(bank.entered.wait(), 20)
        await run_in_db(Run.objects.filter(pk=run.pk).update, fence=1)
        bank.opened.set()
        await run_in_db(Run.objects.filter(pk=run.pk).expire)
    await lose(run)
    async with working(installed):
        run = await reaches(run.pk, Status.WAITING)
        await run_in_db(post, bank.path)
        run = await ended(run.pk)
    assert len(set(bank.urls)) == 1
    assert run.result is not None
    assert run.result["first"] == "asked"


@pytest.mark.parametrize("first", ["paid", "asked", "review"])
async def test_a_worker_lost_after_the_choice_makes_the_same_one(
    bank: Bank, alice: User, first: str
) -> None:
    async with working(installed):
        run = await waiting()
    actions: dict[str, Any] = {
        "paid": send,
        "asked": lambda: post(bank.path),
        "review": partial(respond, run, alice),
    }
    await run_in_db(actions[first])
    claimed = await run_in_db(queue.claim, "lost", 1)
    assert [one.pk for one in claimed.runs] == [run.pk]
    await lose(run)
    await run_in_db(send, 9)  # too late for the choice
    async with working(installed):
        run = await ended(run.pk)
    assert run.result is not None
    assert run.result["first"] == first
    outcomes = await run_in_db(
        lambda: [*run.attempts.values_list("outcome", flat=True)]
    )
    assert outcomes.count(Outcome.LOST) == 1


async def test_the_sweep_delivers_what_a_process_left_to_one_of_several_waits(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(installed):
        run = await waiting()
        with monkeypatch.context() as patched:
            patched.setattr(event_delivery, "deliver", lambda _: [])
            assert (await run_in_db(send)).runs == []
        assert await run_in_db(queue.sweep) == [run.pk]
        run = await ended(run.pk)
    assert run.result is not None
    assert run.result["first"] == "paid"
