"""Votes that one response ends."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth.models import User

from tests.services.test_votes import (
    REJECT,
    World,
    a_review,
    approval_of,
    people,
    result_of,
    world,
)
from tests.support.workers import ended
from workflows.errors import AlreadyAnswered
from workflows.models import ApprovalStatus
from workflows.services import approvals

__all__ = ["people", "world"]  # fixtures

pytestmark = pytest.mark.usefixtures("sealed")


async def test_one_rejection_ends_a_vote_with_a_veto(
    world: World, people: dict[str, User]
) -> None:
    three = a_review("votes", votes=3, veto={"outcome": "reject"})
    run = await world.waiting(three)
    await world.respond(run, people["ada"])
    assert (await approval_of(run)).status == ApprovalStatus.OPEN
    await world.respond(run, people["ben"], REJECT)
    run = await ended(run.pk)
    votes = (await result_of(run))["votes"]
    assert [(vote["by"], vote["value"]["outcome"]) for vote in votes] == [
        ("ada", "publish"),
        ("ben", "reject"),
    ]
    assert "ben" in await world.refused(run, people["cleo"], AlreadyAnswered)


async def test_a_veto_and_a_vote_at_once_are_counted_one_after_the_other(
    world: World, people: dict[str, User]
) -> None:
    two = a_review("votes", votes=2, veto={"outcome": "reject"})
    run = await world.waiting(two)
    results = await asyncio.gather(
        world.respond(run, people["ada"], REJECT),
        world.respond(run, people["ben"]),
        return_exceptions=True,
    )
    run = await ended(run.pk)
    votes = (await result_of(run))["votes"]
    refused = [one for one in results if isinstance(one, AlreadyAnswered)]
    assert len(votes) + len(refused) == 2
    assert votes[-1]["value"]["outcome"] == "reject" or len(votes) == 2


async def test_without_a_veto_every_vote_is_awaited(
    world: World, people: dict[str, User]
) -> None:
    run = await world.waiting(a_review("votes", votes=2))
    await world.respond(run, people["ada"], REJECT)
    assert (await approval_of(run)).status == ApprovalStatus.OPEN


async def test_the_form_names_the_response_that_ends_the_vote(
    world: World, people: dict[str, User]
) -> None:
    three = a_review("votes", votes=3, veto={"outcome": "reject"})
    run = await world.waiting(three)
    sentence = approvals.veto_text(await approval_of(run))
    assert sentence == "One response with outcome “reject” ends the vote."
