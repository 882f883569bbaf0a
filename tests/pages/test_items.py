"""The items of a parallel step on their page: results, and which are not completed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.factories import make_run, make_stage
from workflows.models import StageItem, StageStatus
from workflows.pages.views import items

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db
SignIn = Callable[["User"], "Client"]


def page_with(
    sign_in: SignIn, user: User, done: list[int], total: int, query: str = ""
) -> str:
    """Return the text of the page of a failed step of which these indexes are completed."""
    run = make_run()
    failed = {"status": StageStatus.FAILED, "error_message": "2 items failed"}
    make_stage(
        run, "count", sequence=3, items_done=len(done), items_total=total, **failed
    )
    for index in done:
        StageItem.objects.create(
            run=run, sequence=3, index=index, data=json.dumps(f"<{index}>")
        )
    response = sign_in(user).get(f"/runs/{run.pk}/items/3/{query}")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_completed_items_have_their_results_and_the_others_are_named(
    alice: User, sign_in: SignIn
) -> None:
    text = page_with(sign_in, alice, [0, 2, 3], 6)
    assert "3 of 6 completed" in text
    assert "<p> 2, 5, 6 </p>" in text
    assert "2 items failed" in text
    assert "&lt;2&gt;" in text


def test_a_step_without_missing_items_names_none(alice: User, sign_in: SignIn) -> None:
    assert "Not completed" not in page_with(sign_in, alice, [0, 1], 2)


def test_many_items_are_shown_by_page_and_many_missing_ones_in_part(
    alice: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "ITEMS", 2)
    monkeypatch.setattr(items, "MAX_MISSING", 3)
    first = page_with(sign_in, alice, [1, 3, 5], 1_000_000)
    assert "<p> 1, 3, 5 and more </p>" in first
    assert "&lt;3&gt;" in first
    assert "&lt;5&gt;" not in first
    assert "&lt;5&gt;" in page_with(sign_in, alice, [1, 3, 5], 6, "?after=3")


def test_a_step_without_items_is_not_found(alice: User, sign_in: SignIn) -> None:
    run = make_run()
    make_stage(run, "count", sequence=1)
    for sequence in (1, 2, 2**40):
        path = f"/runs/{run.pk}/items/{sequence}/"
        assert sign_in(alice).get(path).status_code == 404
