"""Pausing a workflow by the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Caller
from workflows.services import pauses

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
NAME = "summarize"
API = f"/api/v1/workflows/{NAME}"
REASON = "The bank is down."


def test_the_api_pauses_and_unpauses(alice: User, api_client: Caller) -> None:
    client = api_client(alice)
    body: dict[str, Any] = {"reason": REASON}
    paused = client.post(f"{API}/pause", body, content_type="application/json")
    assert paused.json()["paused"]["by"] == "alice"
    assert paused.json()["paused"]["reason"] == REASON
    listed = {
        one["name"]: one["paused"] for one in client.get("/api/v1/workflows").json()
    }
    assert listed.pop(NAME) == paused.json()["paused"]
    assert {*listed.values()} == {None}
    (row,) = client.get("/api/v1/pauses").json()
    assert row == {"workflow": NAME, **paused.json()["paused"]}
    again = client.post(f"{API}/pause", body, content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (409, "pause_unchanged")
    assert client.post(f"{API}/unpause").json()["paused"] is None
    assert client.post(f"{API}/unpause").status_code == 409
    assert client.get("/api/v1/pauses").json() == []


def test_the_reason_of_a_pause_is_hidden_without_permission_to_view_data(
    alice: User, api_client: Caller
) -> None:
    pauses.pause(NAME, by=alice, reason=REASON)
    (row,) = api_client(alice, "launch").get("/api/v1/pauses").json()
    assert (row["workflow"], row["reason"]) == (NAME, "hidden")
