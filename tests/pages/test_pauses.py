"""Pausing a workflow on its page and in admin, and where the pause is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import make_run
from tests.support.responses import text_of
from workflows.models import AuditEvent, Status, WorkflowPause

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
NAME = "summarize"
PAGE = f"/workflows/{NAME}/"
REASON = "The bank is down."
ADDED = {"workflow_name": NAME, "reason": REASON}


def shown(client: Client, address: str) -> bool:
    return REASON in text_of(client.get(address))


def test_the_page_of_a_workflow_pauses_and_unpauses_it(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert "Unpause" not in text_of(client.get(PAGE))
    answer = client.post(f"{PAGE}pause/", {"reason": REASON})
    assert answer.headers["Location"] == PAGE
    run = make_run(workflow_name=NAME, status=Status.PENDING)
    for address in (PAGE, "/", f"/runs/{run.pk}/"):
        assert shown(client, address), address
    assert "Unpause" in text_of(client.get(PAGE))
    assert ">paused<" in text_of(client.get("/workflows/"))
    client.post(f"{PAGE}unpause/")
    assert not WorkflowPause.objects.exists()
    for address in (PAGE, "/", f"/runs/{run.pk}/"):
        assert not shown(client, address), address


def test_a_pause_needs_a_reason(alice: User, sign_in: SignIn) -> None:
    answer = sign_in(alice).post(f"{PAGE}pause/", {"reason": " "})
    assert "Enter a reason" in text_of(answer)
    assert not WorkflowPause.objects.exists()


def test_admin_pauses_by_adding_a_row_and_unpauses_by_deleting_it(
    admin: User, sign_in: SignIn
) -> None:
    client, address = sign_in(admin), "/admin/workflows/workflowpause/"
    assert client.post(f"{address}add/", ADDED).status_code == 302
    assert (row := WorkflowPause.objects.get()).reason == REASON
    assert row.paused_by_name == admin.get_username()
    assert REASON in text_of(client.get(f"{address}{NAME}/change/"))
    again = client.post(f"{address}add/", ADDED)
    assert "already exists" in text_of(again)
    selected: dict[str, Any] = {"action": "delete_selected", "post": "yes"}
    client.post(address, selected | {"_selected_action": [NAME]})
    assert not WorkflowPause.objects.exists()
    client.post(f"{address}add/", ADDED)
    client.post(f"{address}{NAME}/delete/", {"post": "yes"})
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert [*actions] == ["pause workflow", "unpause workflow"] * 2
