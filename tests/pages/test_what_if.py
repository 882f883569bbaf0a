"""The page of what-if reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.support.factories import make_user
from tests.support.recorded_runs import NAME, make_runs
from tests.support.responses import text_of
from workflows.errors import TooManyDownloads
from workflows.models import WorkflowPermission
from workflows.pages.lists import what_if
from workflows.services.what_if import Limits

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("recorded_workflow"),
]
SignIn = Callable[[User], Client]
ADDRESS = f"/workflows/{NAME}/what-if/"


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def evaluated(page: Client, address: str = ADDRESS, **query: str) -> Any:
    """Return the response to the form."""
    return page.get(address, {"evaluate": "1", "when": "7d", **query})


def test_the_form_has_todays_values_and_links_lead_to_it(page: Client) -> None:
    answer = page.get(ADDRESS)
    shown = text_of(answer)
    assert "totals" not in answer.context
    assert "bound of “pages at most 100”, today 100" in shown
    assert "param, default 0.8; empty: as recorded" in shown
    content = answer.content.decode()
    assert 'name="set-pages.at_most"' in content
    assert 'value="100"' in content
    for address in (f"/workflows/{NAME}/", f"/decisions/?workflow={NAME}"):
        assert ADDRESS in page.get(address).content.decode()


def test_the_report_lists_edges_and_runs_with_their_steps(page: Client) -> None:
    ids = make_runs([0.1, 0.75, 0.75, 0.9])
    answer = evaluated(page, **{"set-threshold": "0.7"})
    shown = text_of(answer)
    assert "2 of 4 runs would have gone elsewhere" in shown
    assert "score 0.75, threshold 0.70" in shown
    content = answer.content.decode()
    for run in ids:
        assert (f"/runs/{run}/?at=1" in content) == (run in ids[1:3])
    unchanged = text_of(evaluated(page, **{"set-pages.at_most": "100"}))
    assert "0 of 4 runs would have gone elsewhere" in unchanged


def test_parts_add_up_and_list_each_run_once(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "PART", Limits(runs=2))
    ids = make_runs([0.75, 0.1, 0.75, 0.75, 0.75])
    answer = evaluated(page, **{"set-threshold": "0.7"})
    listed: list[Any] = []
    for elsewhere, runs in ((2, 2), (3, 4), (4, 5)):
        context = answer.context
        assert (context["elsewhere"], context["totals"].runs) == (elsewhere, runs)
        listed += [one.run.pk for one in context["shown"]]
        more = context["more"]
        if more:
            answer = page.get(ADDRESS + more)
    assert not more
    assert listed == [pk for pk in ids[::-1] if pk != ids[1]]


def test_a_part_ends_with_as_many_runs_as_are_listed(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "MAX_SHOWN_RUNS", 2)
    make_runs([0.75] * 3)
    answer = evaluated(page, **{"set-threshold": "0.7"})
    assert len(answer.context["shown"]) == 2
    answer = page.get(ADDRESS + answer.context["more"])
    assert answer.context["elsewhere"] == 3
    assert len(answer.context["shown"]) == 1


def test_the_runs_of_one_edge_are_listed_and_a_changed_query_begins_again(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "PART", Limits(runs=2))
    low = make_runs([0.75, 0.75, 0.9])
    sent = {"set-threshold": "0.7", "set-pages.at_most": "100"}
    answer = evaluated(page, **sent, edge="grade→review→publish")
    assert [one.run.pk for one in answer.context["shown"]] == [low[1]]
    other = page.get(ADDRESS + answer.context["more"].replace("0.7", "0.72"))
    assert other.context["is_first"]
    answer = evaluated(page, **sent, edge="grade→publish→review")
    assert not answer.context["shown"]
    assert "No such runs in this part." in text_of(answer)


def test_a_forged_part_is_ignored(page: Client) -> None:
    make_runs([0.75])
    answer = evaluated(page, **{"set-threshold": "0.7", "part": "x.y.z"})
    assert answer.context["totals"].runs == 1


def test_a_refused_value_is_reported_at_its_field(page: Client) -> None:
    answer = evaluated(page, **{"set-threshold": "7"})
    assert answer.status_code == 422
    assert "totals" not in answer.context
    message = "“7” is no value of it: Input should be less than or equal to 1"
    assert message in text_of(answer)


def test_hidden_values_stay_hidden(sign_in: SignIn) -> None:
    ann = make_user("ann")
    readers = Group.objects.create(name="readers")
    WorkflowPermission.objects.create(
        workflow_name=NAME, group=readers, can_read=True, can_view=True
    )
    viewers = Group.objects.create(name="viewers")
    WorkflowPermission.objects.create(
        workflow_name=NAME, group=viewers, can_view=True, can_read=False
    )
    ann.groups.add(viewers)
    page = sign_in(ann)
    assert page.get(f"/workflows/{NAME}/").status_code == 200
    assert ADDRESS not in page.get(f"/workflows/{NAME}/").content.decode()
    assert page.get(ADDRESS).status_code == 403
    ann.groups.add(readers)
    assert page.get(ADDRESS).status_code == 200


def test_only_so_many_reports_are_evaluated_at_once(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if.evaluations, "used", 10**6)
    answer = evaluated(page)
    assert answer.status_code == 429
    assert "Too many what-if reports are in progress." in text_of(answer)
    assert answer["Retry-After"] == str(TooManyDownloads.seconds)
