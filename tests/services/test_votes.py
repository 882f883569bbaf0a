"""Approvals that exclude persons, or need several: who may respond, and when the run continues."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from pydantic import BaseModel

from tests.execution.test_races import run_in_db_priority
from tests.support.factories import make_user
from tests.support.workers import ended, reaches, until, working
from workflows.access.permissions import permissions_for
from workflows.audit import seals
from workflows.audit.verifier import Checker
from workflows.engine import State, Vote, Workflow, approval
from workflows.engine.errors import ResponseRefused
from workflows.errors import AlreadyAnswered, InvalidParams, NotAllowed
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalStatus,
    ApprovalVote,
    AuditEvent,
    Decision,
    Run,
    Status,
)
from workflows.pages.lists import open_approvals
from workflows.registry import Registry
from workflows.services.approvals import may_respond
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")


class Review(BaseModel):
    """The response of a person."""

    outcome: Literal["publish", "reject"]
    note: str = ""


class Letter(State):
    """A state with the responses."""

    days: int = 3
    review: Review | None = None
    second: Review | None = None
    votes: tuple[Vote[Review], ...] = ()


PUBLISH = {"outcome": "publish"}
REJECT = {"outcome": "reject", "note": "no"}


class World:
    """A workflow with a worker, and three superusers."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.system = System(self.registry)

    async def waiting(self, *nodes: Any, by: User | None = None) -> Run:
        """Return a run of these nodes in a row that waits for the first."""
        routes = dict(itertools.pairwise(nodes))
        self.registry.register(
            Workflow("letter", state=Letter, start=nodes[0], routes=routes)
        )
        run = await run_in_db(self.system.execute, "letter", {}, by=by)
        return await reaches(run.pk, Status.WAITING)

    async def respond(self, run: Run, by: User, value: Any = None) -> Run:
        return await run_in_db(
            lambda: self.system.respond(
                run.pk, value or PUBLISH, by=by, comment=f"{by.username} knows"
            )
        )

    async def refused(self, run: Run, by: User, error: type[Exception]) -> str:
        with pytest.raises(error) as caught:
            await self.respond(run, by)
        return str(caught.value)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Provide a worker."""
    made = World()
    async with working(made.registry):
        yield made


@pytest.fixture
async def people() -> dict[str, User]:
    """Return three superusers by name."""
    names = ("ada", "ben", "cleo")
    return {
        name: await run_in_db(User.objects.create_superuser, name) for name in names
    }


def a_review(into: str = "review", **options: Any) -> Any:
    return approval("Right?", Review, into, name=options.pop("name", "ask"), **options)


async def approval_of(run: Run) -> Approval:
    return await run_in_db(
        lambda: (
            Approval.objects.select_related("run").filter(run=run).latest("sequence")
        )
    )


async def result_of(run: Run) -> Any:
    return (await ended(run.pk)).result


async def check_history() -> None:
    assert [
        str(one) for one in await run_in_db(lambda: list(Checker().everything()))
    ] == []


# Votes -------------------------------------------------------------------------------


async def test_a_run_continues_when_enough_persons_have_responded(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2), a_review(name="then"))
    after_one = await world.respond(run, people["ada"])
    assert (after_one.status, after_one.version) == (Status.WAITING, run.version + 1)
    row = await approval_of(run)
    assert (row.status, row.response) == (ApprovalStatus.OPEN, None)
    await world.respond(run, people["ben"], REJECT)
    await until(run.pk, lambda r: r.waiting_node == "then")
    row = await run_in_db(Approval.objects.get, run=run, node_name="ask")
    assert row.status == ApprovalStatus.ANSWERED
    assert row.response == [{"outcome": "publish", "note": ""}, REJECT]
    await world.respond(run, people["ada"])
    result = await result_of(run)
    assert [(v["by"], v["comment"], v["value"]) for v in result["votes"]] == [
        ("ada", "ada knows", {"outcome": "publish", "note": ""}),
        ("ben", "ben knows", REJECT),
    ]
    decision = await run_in_db(Decision.objects.get, run=run, from_node="ask")
    assert (decision.decided_by_id, decision.comment) == (
        None,
        "ada, ben (2 of 2 responses)",
    )
    await check_history()


async def test_each_vote_is_an_audit_event_with_the_digest_of_the_response(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    await world.respond(run, people["ada"])
    await world.respond(run, people["ben"], REJECT)
    await ended(run.pk)
    events = await run_in_db(
        lambda: list(
            AuditEvent.objects.filter(run=run, action="respond").order_by("id")
        )
    )
    assert [(e.actor_name, e.reason, e.status_after) for e in events] == [
        ("ada", "ada knows", "waiting"),
        ("ben", "ben knows", "pending"),
    ]
    assert [(e.before, (e.after or {})["responses"]) for e in events] == [
        ({"responses": "0 of 2"}, "1 of 2"),
        ({"responses": "1 of 2"}, "2 of 2"),
    ]
    assert (events[1].after or {})["digest"] == seals.payload_digest(REJECT).hex()
    await check_history()


@pytest.mark.parametrize("change", ["response", "person", "added"])
async def test_a_vote_that_was_changed_or_added_is_found(
    change: str, world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=3))
    await world.respond(run, people["ada"])
    await check_history()

    def damage() -> None:
        vote = ApprovalVote.objects.get()
        if change == "response":
            vote.response = REJECT
        elif change == "person":
            vote.voter, vote.voter_name = people["ben"], "ben"
        else:
            vote.pk, vote.voter, vote.voter_name = None, people["ben"], "ben"
        vote.save()

    await run_in_db(damage)
    found = [str(one) for one in await run_in_db(lambda: [*Checker().everything()])]
    name = "ada" if change == "response" else "ben"
    assert len(found) == 1
    assert f"the vote of {name} at step 1 was added or changed" in found[0]


async def test_votes_without_their_response_after_retention_are_no_finding(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    await world.respond(run, people["ada"])
    await run_in_db(lambda: ApprovalVote.objects.update(response=None))
    await check_history()


async def test_a_person_votes_once(world: World, people: dict[str, User]) -> None:
    run = await world.waiting(a_review("votes", votes=3))
    await world.respond(run, people["ada"])
    message = await world.refused(run, people["ada"], AlreadyAnswered)
    assert message == "You have responded. The run waits for 2 more people."
    assert await run_in_db(ApprovalVote.objects.count) == 1


async def test_an_invalid_vote_is_refused_with_its_field(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    with pytest.raises(InvalidParams) as caught:
        await world.respond(run, people["ada"], {"outcome": "burn"})
    assert list(caught.value.errors) == ["outcome"]
    assert await run_in_db(ApprovalVote.objects.count) == 0


async def test_a_vote_of_a_person_who_is_no_approver_is_refused(
    world: World, people: dict[str, User], alice: User
) -> None:
    run = await world.waiting(a_review("votes", votes=2, groups=["board"]))
    assert "members of board" in await world.refused(run, alice, NotAllowed)
    board = await run_in_db(Group.objects.create, name="board")
    member = await run_in_db(make_user, "member")
    await run_in_db(member.groups.add, board)
    await world.respond(run, await run_in_db(User.objects.get, pk=member.pk))


async def test_an_expiry_before_the_last_vote_takes_the_declared_response(
    world: World, people: dict[str, User]
) -> None:
    # a year, so that no timer of the worker comes first
    ask = a_review("votes", votes=2, within=timedelta(days=365), on_expiry=REJECT)
    run = await world.waiting(ask)
    await world.respond(run, people["ada"])
    await run_in_db(expire, run)
    result = await result_of(run)
    assert [(v["by"], v["value"]["outcome"]) for v in result["votes"]] == [
        ("ada", "publish"),
        ("", "reject"),
    ]
    row = await approval_of(run)
    assert row.status == ApprovalStatus.EXPIRED
    message = await world.refused(run, people["ben"], AlreadyAnswered)
    assert message == "The approval has expired."
    await check_history()


def expire(run: Run) -> None:
    """Let the approval of a run expire, as at its time."""
    past = run.created_at - timedelta(days=1)
    Approval.objects.filter(run=run).update(expires_at=past)
    Run.objects.filter(pk=run.pk).update(wake_at=past)
    queue.wake_due()


async def test_an_expiry_without_enough_votes_fails_the_run(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2, within=timedelta(days=365)))
    await world.respond(run, people["ada"])
    await run_in_db(expire, run)
    run = await ended(run.pk)
    assert run.status == Status.FAILED
    assert "Too few persons (1) responded to “ask”" in run.error_message


async def test_the_votes_of_a_cancelled_run_do_not_count_after_its_resume(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    await world.respond(run, people["ada"])
    await run_in_db(
        lambda: world.system.cancel(run.pk, by=people["ben"], reason="wrong")
    )
    assert "withdrawn" in await world.refused(run, people["cleo"], AlreadyAnswered)
    await run_in_db(
        lambda: world.system.resume(run.pk, by=people["ben"], reason="right")
    )
    await until(run.pk, lambda r: r.status == Status.WAITING and r.attempt == 2)
    assert await run_in_db(ApprovalVote.objects.count) == 0
    await world.respond(run, people["ada"])
    await world.respond(run, people["ben"])
    result = await result_of(run)
    assert [vote["by"] for vote in result["votes"]] == ["ada", "ben"]
    await check_history()


async def test_a_vote_stays_when_the_account_is_deleted(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    await world.respond(run, people["ada"])
    await run_in_db(people["ada"].delete)
    await world.respond(run, people["ben"])
    result = await result_of(run)
    assert [vote["by"] for vote in result["votes"]] == ["ada", "ben"]


@pytest.mark.parametrize(
    "step",
    ["workflows.services.approvals.seals.payload_digest",
     "workflows.system.audit_events.record",
     "workflows.system.notifications.changed_on_commit"],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 2])
async def test_a_vote_that_is_interrupted_leaves_nothing_behind(
    number: int,
    step: str,
    world: World,
    people: dict[str, User],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    if number == 2:
        await world.respond(run, people["ben"])

    class Killed(Exception):
        """The process ends here."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(step, killed)
        with pytest.raises(Killed):
            await world.respond(run, people["ada"])
    assert await run_in_db(ApprovalVote.objects.count) == number - 1
    assert await run_in_db(AuditEvent.objects.filter(action="respond").count) == (
        number - 1
    )
    assert (await approval_of(run)).status == ApprovalStatus.OPEN
    await world.respond(run, people["ada"])
    await check_history()


def test_concurrent_votes_of_ten_persons_are_counted_exactly() -> None:
    registry, run = waiting_by_hand(votes=4)
    people = [User.objects.create_superuser(f"p{n}") for n in range(10)]
    came = run_in_db_priority(
        10,
        lambda n: System(registry).respond(
            run.pk, PUBLISH, by=people[n], comment=str(n)
        ),
    )
    assert [type(one) for one in came].count(Run) == 4
    assert [type(one) for one in came].count(AlreadyAnswered) == 6
    row = Approval.objects.get(run=run)
    assert row.status == ApprovalStatus.ANSWERED
    assert len(row.response) == row.votes.count() == 4
    events = AuditEvent.objects.filter(run=run, action="respond").order_by("id")
    assert [(event.after or {})["responses"] for event in events] == [
        f"{n} of 4" for n in (1, 2, 3, 4)
    ]
    assert Run.objects.get(pk=run.pk).status == Status.PENDING


def test_concurrent_votes_of_one_person_are_one_vote() -> None:
    registry, run = waiting_by_hand(votes=2)
    ada = User.objects.create_superuser("ada")
    came = run_in_db_priority(
        10,
        lambda n: System(registry).respond(run.pk, PUBLISH, by=ada, comment=str(n)),
    )
    assert [type(one) for one in came].count(Run) == 1
    assert [type(one) for one in came].count(AlreadyAnswered) == 9
    assert ApprovalVote.objects.count() == 1
    assert Run.objects.get(pk=run.pk).status == Status.WAITING


def test_a_cancel_among_concurrent_votes_leaves_a_consistent_run() -> None:
    registry, run = waiting_by_hand(votes=3)
    people = [User.objects.create_superuser(f"p{n}") for n in range(6)]

    def act(number: int) -> Run:
        if number == 0:
            return System(registry).cancel(run.pk, by=people[0], reason="no")
        return System(registry).respond(
            run.pk, PUBLISH, by=people[number], comment="yes"
        )

    run_in_db_priority(6, act)
    run.refresh_from_db()
    row = Approval.objects.get(run=run)
    if row.status == ApprovalStatus.ANSWERED:
        assert row.votes.count() == 3
    else:
        assert (row.status, run.status) == (ApprovalStatus.WITHDRAWN, Status.CANCELLED)
        assert row.votes.count() < 3
    assert [str(one) for one in Checker().everything()] == []


def waiting_by_hand(**options: Any) -> tuple[Registry, Run]:
    """Return a run that waits for an approval, without a worker."""
    registry = Registry()
    ask = a_review("votes", **options)
    registry.register(Workflow("letter", state=Letter, start=ask, routes={}))
    run = System(registry).execute("letter", {})
    Run.objects.filter(pk=run.pk).update(
        status=Status.WAITING, waiting_for="approval", waiting_node="ask"
    )
    Approval.objects.create(
        run=run,
        sequence=1,
        node_name="ask",
        question="Right?",
        votes_needed=options["votes"],
    )
    return registry, run


# Who may not respond -----------------------------------------------------------------

LAUNCHED = "You launched this run: someone else has to respond."
PREVIOUS = (
    "You responded to the previous approval of this run: someone else has to respond."
)


async def test_the_launcher_is_refused_superusers_included(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review(not_by="launcher"), by=people["ada"])
    assert await world.refused(run, people["ada"], ResponseRefused) == LAUNCHED
    row = await approval_of(run)
    assert [await run_in_db(may_respond, row, one) for one in people.values()] == [
        False,
        True,
        True,
    ]
    await world.respond(run, people["ben"])
    assert (await ended(run.pk)).status == Status.COMPLETED


async def test_the_person_of_the_previous_approval_is_refused(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(
        a_review(name="first"), a_review("second", name="sure", not_by="previous")
    )
    await world.respond(run, people["ada"])
    await until(run.pk, lambda r: r.waiting_node == "sure")
    assert await world.refused(run, people["ada"], ResponseRefused) == PREVIOUS
    await world.respond(run, people["ben"])
    assert (await ended(run.pk)).status == Status.COMPLETED


async def test_every_voter_of_the_previous_approval_is_refused(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(
        a_review("votes", votes=2), a_review("second", name="sure", not_by="previous")
    )
    for name in ("ada", "ben"):
        await world.respond(run, people[name])
    await until(run.pk, lambda r: r.waiting_node == "sure")
    for name in ("ada", "ben"):
        assert await world.refused(run, people[name], ResponseRefused) == PREVIOUS
    await world.respond(run, people["cleo"])
    assert (await ended(run.pk)).status == Status.COMPLETED


async def test_the_launcher_has_no_vote(world: World, people: dict[str, User]) -> None:
    ask = a_review("votes", votes=2, not_by="launcher")
    run = await world.waiting(ask, by=people["ada"])
    await world.respond(run, people["ben"])
    assert await world.refused(run, people["ada"], ResponseRefused) == LAUNCHED
    await world.respond(run, people["cleo"])
    assert (await ended(run.pk)).status == Status.COMPLETED


async def test_a_run_that_no_person_launched_excludes_none(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review(not_by="launcher"))
    await world.respond(run, people["ada"])
    assert (await ended(run.pk)).status == Status.COMPLETED


async def test_lists_leave_out_what_a_person_may_not_respond_to(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(
        a_review("votes", votes=2, not_by="launcher"), by=people["ada"]
    )

    def open_of(name: str) -> list[int]:
        person = User.objects.get(username=name)
        found = open_approvals.open_for(permissions_for(person), person.pk)
        return [row.sequence for row in found]

    assert await run_in_db(lambda: [open_of(name) for name in people]) == [[], [1], [1]]
    await world.respond(run, people["ben"])
    assert await run_in_db(lambda: [open_of(name) for name in people]) == [[], [], [1]]


# The form begins filled in -----------------------------------------------------------


async def test_the_initial_response_is_stored_with_the_approval(world: World) -> None:
    run = await world.waiting(
        a_review(initial=lambda s: Review(outcome="publish", note=str(s.days)))
    )
    assert (await approval_of(run)).initial == {"outcome": "publish", "note": "3"}


async def test_a_computed_expiry_is_that_of_the_approval_and_of_the_run(
    world: World,
) -> None:
    run = await world.waiting(a_review(within=lambda s: timedelta(days=s.days)))
    row = await approval_of(run)
    assert row.expires_at is not None
    assert run.wake_at == row.expires_at
    assert abs(row.expires_at - row.created_at - timedelta(days=3)) < timedelta(
        minutes=1
    )


@pytest.mark.parametrize("option", ["initial", "within"])
async def test_a_function_that_ends_the_process_fails_its_run_only(
    option: str, world: World
) -> None:
    def fatal(_: Letter) -> Any:
        raise SystemExit(3)

    options: dict[str, Any] = {option: fatal}
    ask = a_review(**options)
    world.registry.register(Workflow("letter", state=Letter, start=ask, routes={}))
    run = await run_in_db(world.system.execute, "letter", {})
    run = await ended(run.pk)
    assert run.status == Status.FAILED
    assert f"“ask” was not requested: the function of {option}= failed" in (
        run.error_message
    )
