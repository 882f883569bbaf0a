"""Agents, profiles and saved views over the API; HEAD."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Caller
from tests.support.api_requests import operations, path_of
from tests.support.permission_fixtures import make_world
from tests.support.responses import text_of
from workflows.api.live.limits import streams
from workflows.models import AuditEvent, SavedView
from workflows.pages.streaming import slots

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
VIEWS = "/api/v1/views"


def test_views_are_saved_renamed_shared_and_deleted(
    alice: User, api_client: Caller
) -> None:
    client = api_client(alice)
    body = {"name": "failed", "filters": {"status": "failed", "when": "24h"}}
    made: Any = client.post(VIEWS, json.dumps(body), content_type="application/json")
    assert made.status_code == 201
    assert made.json()["query"] == {"status": "failed", "when": "24h"}
    address = f"{VIEWS}/{made.json()['id']}"
    renamed: Any = client.put(
        address,
        json.dumps({"name": "bad", "shared": True}),
        content_type="application/json",
    )
    assert (renamed.json()["name"], renamed.json()["shared"]) == ("bad", True)
    assert [one["name"] for one in client.get(VIEWS).json()] == ["bad"]
    assert client.delete(address).status_code == 204
    assert client.delete(address).status_code == 404
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions)[-3:] == ["save view", "change view", "delete view"]
    assert not SavedView.objects.exists()


def test_settings_of_profiles_are_for_those_who_manage_agents(
    admin: User, alice: User, api_client: Caller, settings: Any
) -> None:
    settings.DEFAULT_ACCESS = "open"
    world = make_world()
    address = f"/api/v1/workflows/{world.profile.workflow_name}/profiles"
    shown = [api_client(one).get(address).json()[0] for one in (admin, alice)]
    assert [one["name"] for one in shown] == ["p", "p"]
    assert [one["stages"] for one in shown] == [{}, None]
    agent = api_client(alice).get("/api/v1/agents").json()[0]
    assert agent["name"] == world.agent.name


def test_head_is_answered_as_get_without_content(
    admin: User, api_client: Caller
) -> None:
    world, client = make_world(), api_client(admin)
    for method, address, name in operations():
        if method != "GET":
            continue
        path = path_of(address, name, world)
        found: Any = client.head(path)
        assert text_of(found) == "", path
        assert found.status_code == client.get(path).status_code, path
    assert client.head("/api/v1/compare").status_code == 422
    refused = client.patch(f"/api/v1/runs/{world.run.pk}")
    assert set(refused["Allow"].split(", ")) == {"GET", "HEAD", "DELETE"}
    assert (streams.used, slots.used) == (0, 0)
