"""The items of a parallel step on their page: failed ones first, results, and what is missing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.factories import make_run, make_stage
from workflows.models import ItemFailure, Run, StageItem, StageStatus, Status
from workflows.pages.lists import step_items

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db
SignIn = Callable[["User"], "Client"]


def run_with(done: list[int], total: int, **item: Any) -> Run:
    """Return a failed run of whose third step these indexes are completed."""
    run = make_run(status=Status.FAILED, sequence=2)
    failed = {"status": StageStatus.FAILED, "error_message": "2 items failed"}
    make_stage(
        run, "count", sequence=3, items_done=len(done), items_total=total, **failed
    )
    for index in done:
        data = json.dumps(f"<{index}>")
        StageItem.objects.create(run=run, sequence=3, index=index, data=data, **item)
    return run


def fail(run: Run, index: int, attempt: int = 1, **fields: Any) -> None:
    values = {"tries": 2, "duration_ms": 1500.0, "error_type": "ConnectionError"}
    ItemFailure.objects.create(
        run=run,
        sequence=3,
        index=index,
        attempt=attempt,
        **values | {"error_message": "no <answer>"} | fields,
    )


def page_of(sign_in: SignIn, user: User, run: Run, query: str = "") -> str:
    response = sign_in(user).get(f"/runs/{run.pk}/items/3/{query}")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_completed_items_have_their_results_and_the_others_are_named(
    alice: User, sign_in: SignIn
) -> None:
    text = page_of(sign_in, alice, run_with([0, 2, 3], 6))
    assert "3 of 6 completed" in text
    assert "<p> 2, 5, 6 </p>" in text
    assert "2 items failed" in text
    assert "&lt;2&gt;" in text
    assert "not recorded" in text, "of a run that began with an earlier version"


def test_failed_items_come_first_with_error_tries_and_time(
    alice: User, sign_in: SignIn
) -> None:
    run = run_with([0, 2], 5, tries=1, duration_ms=40.0)
    fail(run, 3, error_message="an old error")
    fail(run, 3, attempt=2)
    fail(run, 2, error_message="completed since")
    text = page_of(sign_in, alice, run)
    assert "2 of 5 completed, 1 failed" in text
    assert "<p> 2, 5 </p>" in text, "neither result nor error"
    rows = text[text.index("<tbody>") :].split("<tr>")[1:]
    assert "ConnectionError" in rows[0]
    assert "no &lt;answer&gt;" in rows[0]
    assert "1.5 s" in rows[0]
    assert "?step=3&amp;item=4" in rows[0]
    assert "40 ms" in rows[1]
    assert "an old error" not in text
    assert "completed since" not in text
    assert "Resume the run" in text


def test_a_step_without_missing_items_names_none(alice: User, sign_in: SignIn) -> None:
    text = page_of(sign_in, alice, run_with([0, 1], 2))
    assert "Not completed" not in text


def test_many_items_are_shown_by_page_and_many_missing_ones_in_part(
    alice: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_items, "ITEMS", 2)
    monkeypatch.setattr(step_items, "MAX_MISSING", 3)
    first = page_of(sign_in, alice, run_with([1, 3, 5], 1_000_000))
    assert "<p> 1, 3, 5 and more </p>" in first
    assert "&lt;3&gt;" in first
    assert "&lt;5&gt;" not in first
    assert "&lt;5&gt;" in page_of(sign_in, alice, run_with([1, 3, 5], 6), "?after=3")


def test_every_failed_item_is_on_a_page_before_the_completed_ones(
    alice: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_items, "ITEMS", 2)
    for failed, pages in (
        ([0, 2, 4], [["<0>", "<2>"], ["<4>", "<1>"], ["<3>"]]),
        ([0, 2], [["<0>", "<2>"], ["<1>", "<3>"]]),
    ):
        run = run_with([1, 3], 6)
        for index in failed:
            fail(run, index, error_message=f"<{index}>")
        query, seen = "", []
        for _ in pages:
            text = page_of(sign_in, alice, run, query)
            seen.append(re.findall("<[0-9]>", html.unescape(text)))
            following = re.search(r'rel="next" href="(.*?)"', text)
            query = following[1] if following else ""
        assert seen == pages
        assert query == "", "the last page has no other"


def test_a_step_without_items_is_not_found(alice: User, sign_in: SignIn) -> None:
    run = make_run()
    make_stage(run, "count", sequence=1)
    for sequence in (1, 2, 2**40):
        path = f"/runs/{run.pk}/items/{sequence}/"
        assert sign_in(alice).get(path).status_code == 404
