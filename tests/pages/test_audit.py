"""The audit page: actor, action, reason and origin; restricted to auditors."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Group, User
from django.test import Client

import workflows
from tests.support.factories import make_audit_event, make_role, make_run, make_user
from tests.support.sealed_runs import found
from workflows.admin.audited import AuditedAdmin
from workflows.audit import audit_events
from workflows.models import AuditEvent, Price, Status, WorkflowPermission
from workflows.pages.lists import pagination
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
PRICE = {"model": "some-model", "per_million_in": "1", "per_million_out": "2"}


@pytest.fixture
def page(sign_in: SignIn) -> Client:
    """Return a client of an auditor."""
    auditor = make_user("auditor")
    auditor.groups.add(make_role("auditor"))
    return sign_in(auditor)


def text_of(page: Client, query: str = "") -> str:
    answer = page.get(f"/audit/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_an_action_is_shown_with_who_what_why_and_from_where(
    page: Client, alice: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.PENDING)
    sign_in(alice).post(f"/runs/{run.pk}/cancel/", {"reason": "the wrong page"})
    text = text_of(page)
    for message in ("alice", "cancel", "pending → cancelled", "the wrong page"):
        assert message in text
    assert "127.0.0.1" in text
    assert f'href="/runs/{run.pk}/"' in text


def test_audit_events_survive_the_deletion_of_their_run(
    page: Client, alice: User
) -> None:
    run = make_run()
    system.delete_run(run.pk, by=alice, reason="too old")
    text = text_of(page, f"?run={run.pk}")
    assert "too old" in text
    assert "(deleted)" in text
    assert f'href="/runs/{run.pk}/"' not in text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("who=alice", ["first", "third"]),
        ("action=resume", ["second"]),
        ("workflow=sum", ["third"]),
        ("text=SECO", ["second"]),
        ("address=192.0.2.1", ["first"]),
        ("who=alice&action=cancel", ["first"]),
        ("when=1h", ["first", "second", "third"]),
        ("to=2001-01-01", []),
        ("run=none", ["first", "second", "third"]),
        ("before=x", ["first", "second", "third"]),
    ],
)
def test_audit_events_can_be_filtered(
    page: Client, query: str, shown: list[str]
) -> None:
    run = make_run()
    make_audit_event(run, reason="first", address="192.0.2.1")
    make_audit_event(run, reason="second", actor_name="bob", action="resume")
    make_audit_event(run, reason="third", action="label", workflow_name="sum")
    text = text_of(page, f"?{query}")
    found = [word for word in ("first", "second", "third") if f"<q>{word}" in text]
    assert found == shown


def test_audit_events_are_paginated_by_key(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "PAGE_SIZE", 2)
    run = make_run()
    rows = [make_audit_event(run, reason=f"reason {n}") for n in range(5)]
    text = text_of(page)
    assert "reason 4" in text
    assert f"before={rows[3].pk}" in text
    assert "reason 2" in text_of(page, f"?before={rows[3].pk}")


def test_the_audit_page_requires_permission_to_view_everything(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert client.get("/audit/").status_code == 403
    assert "/audit/" not in client.get("/").content.decode()
    assert Client().get("/audit/").status_code == 302


def test_reasons_are_values(page: Client) -> None:
    others = Group.objects.create(name="others")
    WorkflowPermission.objects.create(
        workflow_name="sum", group=others, can_view=True, can_read=True
    )
    make_audit_event(make_run(), reason="about a patient", workflow_name="sum")
    assert "about a patient" not in text_of(page)
    assert "No matching events" in text_of(page, "?text=patient")
    assert "Reason hidden" in text_of(page)
    assert "about a patient" not in text_of(page, "?text=patient")


def test_the_number_of_queries_is_constant(
    page: Client, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    for _ in range(30):
        make_audit_event(make_run())
    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]
        text_of(page)


# Django admin -----------------------------------------------------------------------------


def test_the_history_of_a_run_in_admin_shows_its_audit_events(
    admin: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.PENDING)
    client = sign_in(admin)
    path = f"/admin/workflows/run/{run.pk}/history/"
    assert "No audit events" in client.get(path).content.decode()
    client.post(f"/runs/{run.pk}/cancel/", {"reason": "the wrong page"})
    text = client.get(path).content.decode()
    assert "the wrong page" in text
    assert "127.0.0.1" in text
    assert "pending → cancelled" in " ".join(text.split())


def test_a_change_in_admin_is_an_audit_event(admin: User, sign_in: SignIn) -> None:
    client = sign_in(admin)
    given = {"model": "m", "per_million_in": "1", "per_million_out": "2"}
    client.post("/admin/workflows/price/add/", given)
    price = Price.objects.get()
    changed = given | {"per_million_in": "3"}
    client.post(f"/admin/workflows/price/{price.pk}/change/", changed)
    client.post(f"/admin/workflows/price/{price.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/group/add/", {"name": "readers"})
    rows = AuditEvent.objects.order_by("pk").values_list(
        "actor_name", "action", "reason", "address"
    )
    assert list(rows) == [
        ("admin", "add price", "m: Added.", "127.0.0.1"),
        ("admin", "change price", "m: Changed Per million in.", "127.0.0.1"),
        ("admin", "delete price", "m", "127.0.0.1"),
        ("admin", "add group", "readers: Added.", "127.0.0.1"),
    ]
    assert found() == []


# Actions ----------------------------------------------------------------------------------

RECORDING = {"note", "record", "entry", "changing", "record_removed"}
HELPERS = {"_record", "_go_on"}  # which pass the action as a parameter
ALL_ACTIONS = [action for known in audit_events.ACTIONS.values() for action in known]


def recorded_in(path: Path) -> Iterator[str]:
    """Yield the action names in a module's calls that record audit events."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text if "audit_events." in text else "")):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        by_module = (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Name)
            and called.value.id == "audit_events"
            and called.attr in RECORDING
        )
        if by_module or (isinstance(called, ast.Name) and called.id in HELPERS):
            for given in node.args[:2]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    yield given.value


def test_every_action_that_code_names_is_declared() -> None:
    paths = sorted(Path(workflows.__file__).parent.rglob("*.py"))
    found = {action for path in paths for action in recorded_in(path)}
    assert {"launch", "cancel", "note", "save view", "change password"} <= found
    assert found <= set(ALL_ACTIONS)


def test_the_filter_of_the_page_and_of_admin_lists_every_action(
    page: Client, admin: User, sign_in: SignIn
) -> None:
    assert {"change user", "add group", "grant permission", "note"} <= set(ALL_ACTIONS)
    text = text_of(page)
    admin_text = sign_in(admin).get("/admin/workflows/auditevent/").content.decode()
    for action in ALL_ACTIONS:
        assert f'<option value="{action}">' in text, action
        assert f"?action={quote_plus(action)}" in admin_text, action


def test_an_action_that_is_not_declared_cannot_be_recorded(alice: User) -> None:
    with pytest.raises(ValueError, match="not a declared audit action"):
        audit_events.note("rename planet", by=alice, reason="Pluto")


def test_every_audited_admin_declares_its_actions() -> None:
    pages = site._registry.values()  # noqa: SLF001 - the site has no public list
    audited = [one for one in pages if isinstance(one, AuditedAdmin)]
    longest: Any = AuditEvent._meta.get_field("action").max_length  # noqa: SLF001 - Django's documented model API
    assert len(audited) > 5
    for one in audited:
        assert one.recorded()
        for action in one.recorded():
            assert action in audit_events.ACTIONS[audit_events.IN_ADMIN]
            assert len(action) <= longest


def test_admin_and_the_page_show_the_object_of_each_row(
    page: Client, admin: User, sign_in: SignIn
) -> None:
    client = sign_in(admin)
    client.post("/admin/auth/group/add/", {"name": "night: shift"})
    client.post("/agents/prices/new/", PRICE)
    client.post(
        "/admin/workflows/workflowpermission/add/",
        {"workflow_name": "classify-document", "can_view": "on"},
    )
    audit_events.note("change password", by=admin, reason="olga")
    gone = make_run()
    system.delete_run(gone.pk, by=admin, reason="too old")
    admin_text = make_run()
    system.label(admin_text.pk, "odd", by=admin)
    message = " ".join(
        client.get("/admin/workflows/auditevent/").content.decode().split()
    )
    assert "None (deleted)" not in message
    subjects = ("Role “night: shift”", "Price “some-model”", "Account “olga”")
    for subject in (*subjects, f"Run {gone.pk} (deleted)", admin_text.short_id):
        assert subject in message, subject
    assert re.search("Permission “classify-document[^”]*”", message)
    text = text_of(page)
    for subject in subjects:
        assert subject in text, subject


def test_names_of_documents_are_redacted_in_admin_as_on_the_page(
    page: Client, alice: User
) -> None:
    auditor = User.objects.get(username="auditor")
    auditor.is_staff = True
    auditor.save()
    audit_events.note(audit_events.ADD_DOCUMENT, by=alice, reason="merger.pdf")
    assert "merger.pdf" in page.get("/admin/workflows/auditevent/").content.decode()
    lawyers = Group.objects.create(name="lawyers")
    WorkflowPermission.objects.create(
        workflow_name="secret-work", group=lawyers, can_view=True, can_read=True
    )
    for address in ("/admin/workflows/auditevent/", "/audit/"):
        assert "merger.pdf" not in page.get(address).content.decode(), address


def test_the_listed_events_are_exported_with_sign_ins(
    page: Client, sign_in: SignIn, alice: User
) -> None:
    make_audit_event(make_run(), action="sign in", reason="alice: password")
    make_audit_event(make_run(), action="pause workflow", reason="=1+1")

    def content(kind: str, **query: str) -> str:
        answer = page.get(f"/audit/export.{kind}", query)
        parts: Any = answer.streaming_content  # type: ignore[attr-defined]
        text: str = b"".join(parts).decode("utf-8-sig")
        return text

    found = [json.loads(one) for one in content("jsonl", action="sign in").splitlines()]
    assert [one["reason"] for one in found] == ["alice: password"]
    assert "'=1+1" in content("csv"), "no spreadsheet evaluates it"
    assert len(json.loads(content("json"))) == AuditEvent.objects.count()
    assert "/audit/export.csv?action=sign+in" in text_of(page, "?action=sign+in")
    assert page.get("/audit/export.xls").status_code == 404
    assert sign_in(alice).get("/audit/export.csv").status_code == 403
