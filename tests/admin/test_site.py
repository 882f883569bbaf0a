"""The index of Django admin: models by task, in the colours of the pages."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client

from project.admin_site import GROUPS, OTHER, OperatorsSite
from workflows.audit import audit_events
from workflows.models import AuditEvent

CSS = Path(__file__).parents[2] / "static" / "css"
COLOUR = re.compile(r"#[0-9a-f]{3,8}\b")


def captions(answer: str) -> list[str]:
    return re.findall(r'class="section"[^>]*>([^<]+)<', answer)


def test_every_model_of_the_groups_is_registered() -> None:
    assert isinstance(admin.site, OperatorsSite)
    models = [apps.get_model(label) for labels in GROUPS.values() for label in labels]
    assert [model for model in models if not admin.site.is_registered(model)] == []


@pytest.mark.django_db
def test_the_index_lists_the_groups_that_a_person_may_see(
    admin_client: Client, client: Client
) -> None:
    content = admin_client.get("/admin/").content.decode()
    shown = captions(content)
    assert list(dict.fromkeys(shown)) == list(GROUPS)
    assert OTHER not in shown
    assert content.index("Runs") < content.index("Checkpoints") < content.index("Users")
    auditor = User.objects.create_user("ruth", password="x", is_staff=True)
    auditor.groups.add(Group.objects.get(name="auditor"))
    client.force_login(auditor)
    content = client.get("/admin/").content.decode()
    assert "History and audit" in captions(content)
    assert "/admin/axes/accesslog/" not in content


@pytest.mark.django_db
def test_the_models_of_one_python_app_have_their_own_page(admin_client: Client) -> None:
    content = admin_client.get("/admin/auth/").content.decode()
    assert "/admin/auth/user/" in content
    assert "Authentication and Authorization" in captions(content)


def test_colours_of_admin_are_tokens_of_the_other_pages() -> None:
    used = set(COLOUR.findall((CSS / "admin.css").read_text()))
    assert used
    assert used <= set(COLOUR.findall((CSS / "app.css").read_text()))


@pytest.mark.django_db
def test_times_in_admin_have_the_day_first_and_seconds(admin_client: Client) -> None:
    moment = dt.datetime(2026, 11, 30, 15, 4, 5, tzinfo=dt.UTC)
    AuditEvent.objects.create(action="pause workflow", reason="stop", created_at=moment)
    content = admin_client.get("/admin/workflows/auditevent/").content.decode()
    assert "30 Nov 2026, 15:04:05" in content


@pytest.mark.django_db
def test_every_recorded_action_is_in_the_filter_by_subject(
    admin_client: Client,
) -> None:
    for action in ("sign in", "add user", "cancel"):
        AuditEvent.objects.create(action=action, reason=f"reason of {action}")
    everything = admin_client.get("/admin/workflows/auditevent/").content.decode()
    for name in (name for names in audit_events.ACTIONS.values() for name in names):
        assert f">{name}</a>" in everything
    assert everything.index("<summary>Accounts<") < everything.index(">sign in</a>")
    assert "filter-group" in everything
    assert '<details class="filter-group" open>' not in everything
    chosen = admin_client.get("/admin/workflows/auditevent/?action=sign+in")
    content = chosen.content.decode()
    assert '<details class="filter-group" open>' in content
    assert "reason of sign in" in content
    assert "reason of add user" not in content
    assert "/audit/?action=sign%20in" in content


@pytest.mark.django_db
def test_recorded_times_of_an_account_cannot_be_entered(
    admin_client: Client, admin_user: User
) -> None:
    content = admin_client.get(f"/admin/auth/user/{admin_user.pk}/change/").content
    assert b"Last login" in content
    assert b'name="last_login' not in content
    assert b'name="date_joined' not in content
