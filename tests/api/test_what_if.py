"""What-if reports over the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Caller
from tests.support.recorded_runs import NAME, make_runs
from workflows.api.routes import what_if
from workflows.services.what_if import Limits

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("recorded_workflow"),
]
URL = f"/api/v1/workflows/{NAME}"


@pytest.fixture
def client(admin: User, api_client: Caller) -> Any:
    return api_client(admin)


def test_thresholds_are_listed(client: Any) -> None:
    assert client.get(f"{URL}/thresholds").json() == [
        {"name": "threshold", "value": "0.8", "is_param": True},
        {"name": "pages.at_most", "value": "100", "is_param": False},
        {"name": "MAX_ROUNDS", "value": "2", "is_param": False},
    ]


def test_parts_follow_each_other_with_all_settings(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "PART", Limits(runs=2))
    ids = make_runs([0.75, 0.1, 0.9])
    query = {"set": ["threshold=0.7", "pages.at_most=0"], "since": "2020-01-01T00:00Z"}
    part = client.get(f"{URL}/what-if", query)
    body = part.json()
    assert (body["runs"], body["runs_elsewhere"]) == (2, 1)
    assert body["edges"] == [
        {"node": "grade", "recorded": "publish", "today": "review", "runs": 1}
    ]
    assert [one["run"] for one in body["items"]] == [str(ids[2])]
    assert body["items"][0]["url"] == f"/runs/{ids[2]}/?at=1"
    address = part["Link"].partition(">")[0].removeprefix("<")
    assert client.get(address).json() == {
        "runs": 1,
        "runs_elsewhere": 0,
        "runs_failed": 0,
        "decisions": 1,
        "unconditional": 1,
        "edges": [],
        "not_evaluated": {},
        "items": [],
        "next": None,
    }


@pytest.mark.parametrize("setting", ["nothing=1", "threshold=7", "threshold"])
def test_an_invalid_setting_is_a_problem(client: Any, setting: str) -> None:
    answer = client.get(f"{URL}/what-if", {"set": setting})
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
