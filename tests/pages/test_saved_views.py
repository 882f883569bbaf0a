"""Saved views of the runs list."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from workflows.models import AuditEvent, SavedView

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def save(
    page: Client, name: str = "Failed", query: str = "status=failed", **more: str
) -> int:
    answer = page.post("/runs/views/", {"name": name, "query": query, **more})
    return answer.status_code


def test_a_view_is_saved_with_known_parameters_only(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    query = "status=failed&nonsense=1&before=x&fields=result.label&column=took,by"
    answer = page.post("/runs/views/", {"name": " My  view ", "query": query})
    view = SavedView.objects.get()
    assert view.name == "My view"
    assert view.query == "status=failed&column=by%2Cduration&fields=result.label"
    assert answer.headers["Location"] == f"/runs/?{view.query}"
    text = page.get(answer.headers["Location"]).content.decode()
    link = re.search(r'<a class="view"[^>]*>My view', text)
    assert link
    assert 'aria-current="page"' in link[0]
    assert AuditEvent.objects.get().action == "save view"


def test_a_saved_view_is_visible_to_others_only_after_sharing(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    save(sign_in(alice), "Mine alone")
    save(sign_in(alice), "Everyone's", shared="1")
    text = sign_in(bob).get("/runs/").content.decode()
    assert "Everyone&#x27;s" in text
    assert "Mine alone" not in text
    assert "by alice" in text


def test_the_owner_renames_shares_and_deletes_a_view(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    save(page)
    view = SavedView.objects.get()
    page.post(f"/runs/views/{view.pk}/", {"name": "Broken", "shared": "1"})
    view.refresh_from_db()
    assert (view.name, view.shared) == ("Broken", True)
    page.post(f"/runs/views/{view.pk}/delete/")
    assert not SavedView.objects.exists()
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["save view", "change view", "delete view"]


def test_only_the_owner_changes_a_view(alice: User, bob: User, sign_in: SignIn) -> None:
    save(sign_in(alice), shared="1")
    save(sign_in(alice), "Hidden")
    shared, hidden = SavedView.objects.order_by("pk")
    page = sign_in(bob)
    for address in (f"/runs/views/{shared.pk}/", f"/runs/views/{shared.pk}/delete/"):
        assert page.post(address, {"name": "bob's"}).status_code == 403
    assert page.post(f"/runs/views/{hidden.pk}/delete/").status_code == 404
    assert SavedView.objects.count() == 2


def test_names_of_views_are_unique_per_user(alice: User, sign_in: SignIn) -> None:
    page = sign_in(alice)
    save(page, "One", "status=failed")
    save(page, "One", "status=running")
    assert SavedView.objects.get().query == "status=running"
    save(page, "Two")
    two = SavedView.objects.get(name="Two")
    assert page.post(f"/runs/views/{two.pk}/", {"name": "One"}).status_code == 422


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "\x00"])
def test_a_view_requires_a_name(alice: User, sign_in: SignIn, name: str) -> None:
    assert save(sign_in(alice), name) == 422
    assert not SavedView.objects.exists()


def test_the_page_of_saved_views_explains_how_to_save_one(
    alice: User, sign_in: SignIn
) -> None:
    assert "No saved views yet." in sign_in(alice).get("/runs/views/").content.decode()
