"""Audit events of a change contain the values before and after, without secrets."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.pages.test_forms import ONE_PAGE
from tests.support.factories import make_role, make_user
from tests.support.sealed_runs import found
from workflows.audit import audit_events, snapshots
from workflows.documents.service import delete_document, store_document
from workflows.errors import ReasonMissing
from workflows.models import (
    Agent,
    AuditEvent,
    Document,
    Price,
    Provider,
    SavedView,
    WorkflowPermission,
)

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]

KEY, ANOTHER = "sk-the-first-key", "sk-another-key"
OURS = {
    "name": "Ours",
    "kind": "openai",
    "base_url": "https://llm.example.org/v1",
    "timeout_seconds": "120",
    "tries": "4",
    "is_enabled": "on",
}


@pytest.fixture
def client(admin: User, sign_in: SignIn) -> Client:
    return sign_in(admin)


def newest() -> AuditEvent:
    return AuditEvent.objects.latest("pk")


def changed() -> tuple[Any, Any]:
    return newest().before, newest().after


def recorded_values() -> str:
    rows = AuditEvent.objects.values_list("reason", "before", "after")
    return str(list(rows))


# Pages ------------------------------------------------------------------------------------


def test_a_new_row_is_recorded_in_full_and_a_changed_one_by_its_differences(
    client: Client,
) -> None:
    client.post("/agents/providers/new/", OURS)
    was, now = changed()
    assert was == {}
    assert (now["name"], now["tries"]) == ("Ours", 4)
    one = Provider.objects.get()
    client.post(f"/agents/providers/{one.pk}/", OURS | {"tries": "7"})
    assert changed() == ({"tries": 4}, {"tries": 7})
    client.post(f"/agents/providers/{one.pk}/delete/")
    was, now = changed()
    assert (was["base_url"], now) == ("https://llm.example.org/v1", {})


def test_a_changed_key_is_recorded_without_its_value(
    client: Client,
) -> None:
    client.post("/agents/providers/new/", OURS | {"secret": KEY})
    assert newest().after["key"] == "kept"  # type: ignore[index] # just seen to be there
    one = Provider.objects.get()
    client.post(f"/agents/providers/{one.pk}/", OURS | {"secret": ANOTHER})
    assert changed() == ({"key": "kept"}, {"key": "another"})
    client.post(f"/agents/providers/{one.pk}/", OURS | {"forget": "on"})
    assert changed() == ({"key": "kept"}, {"key": "none"})
    message = recorded_values()
    assert KEY not in message
    assert ANOTHER not in message


def test_saving_equal_values_is_recorded_as_no_change(client: Client) -> None:
    price = Price.objects.create(
        model="m", per_million_in=Decimal(3), per_million_out=Decimal("0.5")
    )
    given = {"model": "m", "per_million_in": "3", "per_million_out": "0.50"}
    client.post(f"/agents/prices/{price.pk}/", given)
    assert newest().action == "save price"
    assert changed() == ({}, {})


def test_a_refused_deletion_is_not_recorded(client: Client) -> None:
    provider = Provider.objects.create(name="Ours", base_url="https://x.example/v1")
    Agent.objects.create(name="Reader", provider=provider, model="m")
    client.post(f"/agents/providers/{provider.pk}/delete/")
    assert Provider.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_view_that_is_saved_again_reports_both_queries(client: Client) -> None:
    client.post("/runs/views/", {"name": "Mine", "query": "status=failed"})
    client.post("/runs/views/", {"name": "Mine", "query": "status=waiting"})
    assert SavedView.objects.get().query == "status=waiting"
    assert changed() == ({"query": "status=failed"}, {"query": "status=waiting"})


def test_the_audit_shows_what_was_and_is(client: Client) -> None:
    client.post("/agents/providers/new/", OURS)
    one = Provider.objects.get()
    client.post(f"/agents/providers/{one.pk}/", OURS | {"tries": "7"})
    client.post(f"/agents/providers/{one.pk}/delete/")
    page = client.get("/audit/").content.decode()
    assert "<del>4</del>" in page
    assert "<ins>7</ins>" in page
    assert "<summary>Details</summary>" in page


# Admin ------------------------------------------------------------------------------------


def test_admin_reports_what_a_row_and_its_links_were(client: Client) -> None:
    group = Group.objects.create(name="readers")
    bob = User.objects.create_user("bob", password="a-long-passphrase")
    given = {
        "username": "bob",
        "first_name": "Bob",
        "last_name": "",
        "email": "",
        "is_active": "on",
        "groups": [str(group.pk)],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "10:00:00",
    }
    answer = client.post(f"/admin/auth/user/{bob.pk}/change/", given)
    assert answer.status_code == 302, answer.content.decode()
    assert changed() == (
        {"first_name": "", "groups": []},
        {"first_name": "Bob", "groups": ["readers"]},
    )


def test_admin_records_granted_and_revoked_permissions(client: Client) -> None:
    given = {"workflow_name": "summarize", "can_view": "on"}
    client.post("/admin/workflows/workflowpermission/add/", given)
    right = WorkflowPermission.objects.get()
    more = given | {"can_launch": "on"}
    client.post(f"/admin/workflows/workflowpermission/{right.pk}/change/", more)
    assert changed() == ({"can_launch": False}, {"can_launch": True})
    client.post(
        f"/admin/workflows/workflowpermission/{right.pk}/delete/", {"post": "yes"}
    )
    was, now = changed()
    assert (was["can_launch"], now) == (True, {})


def test_neither_a_password_nor_its_hash_is_recorded(client: Client) -> None:
    word = "a-long-passphrase-8"
    new = {"username": "eve", "password1": word, "password2": word}
    new["usable_password"] = "true"
    client.post("/admin/auth/user/add/", new)
    eve = User.objects.get(username="eve")
    assert newest().after["password"] == "kept"  # type: ignore[index] # just seen to be there
    client.post(f"/admin/auth/user/{eve.pk}/delete/", {"post": "yes"})
    message = recorded_values()
    assert word not in message
    assert eve.password not in message


# Documents --------------------------------------------------------------------------------


def test_adding_and_deleting_a_document_is_recorded_with_its_description(
    client: Client, admin: User
) -> None:
    document = store_document("letter.pdf", io.BytesIO(ONE_PAGE), by=admin)
    assert (newest().actor, newest().action) == (admin, audit_events.ADD_DOCUMENT)
    assert newest().after["sha256"] == document.sha256  # type: ignore[index] # just seen to be there
    address = f"/documents/{document.pk}/delete/"
    assert client.post(address, {"reason": " "}).status_code == 422
    assert Document.objects.exists()
    client.post(address, {"reason": "sent to us by mistake"})
    assert not Document.objects.exists()
    assert newest().reason == "letter.pdf: sent to us by mistake"
    was, now = changed()
    assert (was["sha256"], was["uploaded_by"], now) == (document.sha256, "admin", {})
    assert found() == []


def test_each_uploader_of_the_same_file_is_recorded_once(
    admin: User, alice: User
) -> None:
    store_document("letter.pdf", io.BytesIO(ONE_PAGE), by=admin)
    for _ in range(2):
        store_document("mine.pdf", io.BytesIO(ONE_PAGE), by=alice)
    events = AuditEvent.objects.order_by("pk").values_list("actor_name", flat=True)
    assert list(events) == ["admin", "alice"]
    assert changed() == ({"holders": []}, {"holders": ["alice"]})


def test_a_person_has_to_give_a_reason_and_a_command_does_not(alice: User) -> None:
    document = store_document("letter.pdf", io.BytesIO(ONE_PAGE))
    with pytest.raises(ReasonMissing):
        delete_document(document, by=alice, reason="")
    delete_document(document, by=None, reason="")
    assert not Document.objects.exists()


def test_names_of_documents_are_for_who_may_read_every_workflow(
    admin: User, sign_in: SignIn
) -> None:
    auditor = make_user("auditor")
    auditor.groups.add(make_role("auditor"))
    store_document("patient-x.pdf", io.BytesIO(ONE_PAGE), by=admin)
    client = sign_in(auditor)
    assert "patient-x" in client.get("/audit/").content.decode()
    others = Group.objects.create(name="others")
    WorkflowPermission.objects.create(
        workflow_name="summarize", group=others, can_view=True, can_read=True
    )
    for query in ("", "?text=patient"):
        page = client.get(f"/audit/{query}").content.decode()
        assert "patient-x" not in page


# By itself --------------------------------------------------------------------------------


def test_a_row_that_does_not_exist_has_an_empty_snapshot() -> None:
    assert snapshots.of(Price(model="m")) == {}
    gone = Price.objects.create(model="m", per_million_in=1, per_million_out=1)
    Price.objects.all().delete()
    assert snapshots.of(gone) == {}
