"""The members page, and pages as another member sees them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from tests.support.factories import make_role, make_run, make_user
from tests.support.responses import text_of
from workflows.access.grants import VERBS, grants_of
from workflows.audit import audit_events
from workflows.errors import NotAllowed
from workflows.models import AuditEvent, Run, WorkflowPermission
from workflows.pages.catalog import title_of
from workflows.pages.sessions import view_as

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
NAME = "classify-document"
BANNER = "You view pages as"


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return " ".join(text_of(answer).split())


@pytest.fixture
def closed(settings: Settings) -> None:
    settings.DEFAULT_ACCESS = "closed"


@pytest.fixture
def viewer(closed: None) -> User:
    person = make_user("vera viewer", email="vera@example.org")
    person.groups.add(make_role("viewer"))
    return person


@pytest.fixture
def viewing(admin: User, viewer: User, sign_in: SignIn) -> Client:
    client = sign_in(admin)
    assert client.post(reverse("view-as", args=[viewer.pk])).status_code == 302
    return client


# Members ----------------------------------------------------------------------------


def test_members_are_listed_with_their_groups(
    admin: User, viewer: User, sign_in: SignIn
) -> None:
    make_user("ci", is_active=False)
    text = page(sign_in(admin), reverse("members"))
    assert "vera viewer" in text
    assert "vera@example.org" in text
    assert "deactivated" in text
    assert "superuser" in text


def test_members_are_found_by_name_address_and_group(
    admin: User, viewer: User, sign_in: SignIn
) -> None:
    make_user("otto other")
    client = sign_in(admin)
    for query in ("q=VERA", "q=vera@exam", "group=viewer"):
        text = page(client, f"{reverse('members')}?{query}")
        assert "vera viewer" in text, query
        assert "otto other" not in text, query
    assert "No matching members" in page(client, f"{reverse('members')}?q=nobody")


def test_a_long_list_of_members_has_pages(admin: User, sign_in: SignIn) -> None:
    User.objects.bulk_create([User(username=f"m{n:03}") for n in range(60)])
    client = sign_in(admin)
    first = page(client, reverse("members"))
    assert "m010" in first
    assert "m059" not in first
    assert "m059" in page(client, f"{reverse('members')}?after=m048")


@pytest.mark.parametrize("name", ["members", "member"])
def test_members_are_shown_to_account_managers_only(
    name: str, viewer: User, sign_in: SignIn
) -> None:
    address = reverse(name, args=[viewer.pk] if name == "member" else [])
    assert sign_in(viewer).get(address).status_code == 403
    manager = make_user()
    manager.groups.add(make_role("admin"))
    assert sign_in(manager).get(address).status_code == 200


def verbs_of(member: User, name: str = NAME) -> tuple[list[str], tuple[str, ...]]:
    """Return the permissions of a member on a workflow, and their sources."""
    grant = grants_of(User.objects.get(pk=member.pk), [name])[0]
    given = [verb for verb, has in zip(VERBS, grant.verbs, strict=True) if has]
    return given, grant.through


def test_the_sources_of_permissions_are_named(
    settings: Settings, admin: User, viewer: User
) -> None:
    assert verbs_of(viewer) == (["view", "read"], ("viewer",))
    assert verbs_of(make_user()) == ([], ())
    assert verbs_of(admin) == (list(VERBS), ("superuser",))
    settings.DEFAULT_ACCESS = "open"
    assert verbs_of(viewer) == (list(VERBS), ("open access",))
    team = Group.objects.create(name="team")
    viewer.groups.add(team)
    WorkflowPermission.objects.create(workflow_name=NAME, group=team, can_launch=True)
    assert verbs_of(viewer) == (["view", "launch", "read"], ("team",))
    assert verbs_of(make_user()) == ([], ())
    WorkflowPermission.objects.create(workflow_name=NAME, group=None, can_view=True)
    assert verbs_of(viewer)[1] == ("team", "all members")
    readers = Group.objects.create(name="readers")
    WorkflowPermission.objects.create(
        workflow_name=NAME, group=readers, can_view=False, can_read=True
    )
    assert verbs_of(viewer)[0] == ["view", "launch"]


def test_the_page_of_a_member_shows_permissions_by_workflow(
    admin: User, viewer: User, sign_in: SignIn
) -> None:
    text = page(sign_in(admin), reverse("member", args=[viewer.pk]))
    assert title_of(NAME) in text
    assert 'data-label="View:"> yes' in text
    assert 'data-label="Launch:"> <span class="quiet">no' in text


# View as ----------------------------------------------------------------------------


def test_pages_are_those_of_the_member_until_it_ends(
    viewing: Client, admin: User, viewer: User
) -> None:
    text = page(viewing, f"/workflows/{NAME}/")
    assert f"{BANNER} <strong>vera viewer</strong>" in text
    assert "You don’t have permission to launch this workflow." in text
    assert viewing.get(reverse("members")).status_code == 403
    answer = viewing.post(reverse("view-as-end"))
    assert answer.headers["Location"] == reverse("member", args=[viewer.pk])
    text = page(viewing, f"/workflows/{NAME}/")
    assert BANNER not in text
    assert "You don’t have permission" not in text
    events = AuditEvent.objects.order_by("pk").values_list("action", "reason", "actor")
    assert list(events) == [
        ("start view as", "vera viewer", admin.pk),
        ("end view as", "vera viewer", admin.pk),
    ]


def test_nothing_can_be_done_as_the_member(
    viewing: Client, viewer: User, settings: Settings
) -> None:
    settings.DEFAULT_ACCESS = "open"
    run = make_run(status="waiting")
    for address in (
        reverse("run-cancel", args=[run.pk]),
        reverse("run-note", args=[run.pk]),
        reverse("workflow", args=[NAME]),
        reverse("view-as", args=[viewer.pk]),
    ):
        for headers in ({}, {"HX-Request": "true"}):
            answer = viewing.post(address, {"reason": "x"}, headers=headers)
            assert answer.status_code == 403, address
            assert "read-only" in answer.content.decode()
    assert viewing.post("/api/v1/views", {"name": "x"}).status_code == 403
    assert Run.objects.get().status == "waiting"
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(
    "address",
    ["/admin/", "/accounts/tokens/", "/accounts/password/", "/api/v1/runs"],
)
def test_pages_of_an_account_are_not_shown(viewing: Client, address: str) -> None:
    assert viewing.get(address).status_code == 403


def test_no_action_is_recorded_for_a_viewed_member(viewer: User, admin: User) -> None:
    setattr(viewer, audit_events.VIEWED_ATTRIBUTE, admin.pk)
    with pytest.raises(NotAllowed):
        audit_events.note("save view", by=viewer, reason="x")


def test_a_page_that_writes_is_refused(viewing: Client, viewer: User) -> None:
    with view_as.changing_nothing():
        assert User.objects.filter(pk=viewer.pk).exists()
        with pytest.raises(NotAllowed), transaction.atomic():
            viewer.save()
    viewer.save()


def test_pages_are_not_live_meanwhile(viewing: Client) -> None:
    assert "hx-ws:connect" not in page(viewing, "/runs/")
    viewing.post(reverse("view-as-end"))
    assert "hx-ws:connect" in page(viewing, "/runs/")


async def test_websockets_are_refused_meanwhile() -> None:
    sent: list[str] = []

    async def application(scope: object, receive: object, send: object) -> None:
        sent.append("served")

    async def receive() -> None:
        sent.append("received")

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    serve = view_as.without_sockets(application)
    await serve({"session": {view_as.KEY: [1, 0.0]}}, receive, send)
    assert sent == ["received", "websocket.close"]
    await serve({"session": {}}, receive, send)
    assert sent[2:] == ["served"]


def test_who_could_not_start_it_is_refused(
    admin: User, viewer: User, sign_in: SignIn
) -> None:
    other = make_user()
    address = reverse("view-as", args=[other.pk])
    assert sign_in(viewer).post(address).status_code == 403
    manager = make_user()
    manager.groups.add(make_role("admin"))
    client = sign_in(manager)
    assert client.post(address).status_code == 302
    client.post(reverse("view-as-end"))
    for target in (admin, manager):  # more than their own, their own
        address = reverse("view-as", args=[target.pk])
        assert client.post(address).status_code == 403
    assert client.post(reverse("view-as", args=[0])).status_code == 404
    other.is_active = False
    other.save()
    assert client.post(reverse("view-as", args=[other.pk])).status_code == 403


def test_it_ends_when_it_could_no_longer_be_started(
    viewing: Client, viewer: User, admin: User
) -> None:
    viewer.is_active = False
    viewer.save()
    assert BANNER not in page(viewing, "/runs/")
    assert AuditEvent.objects.filter(action="end view as").count() == 1


def test_it_ends_after_an_hour(
    viewing: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BANNER in page(viewing, "/runs/")
    later = time.time() + view_as.VIEW_AS_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert BANNER not in page(viewing, "/runs/")


def test_signing_out_ends_it(viewing: Client, admin: User) -> None:
    viewing.post(reverse("logout"))
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor) == ("end view as", admin)
    viewing.force_login(admin)
    assert BANNER not in page(viewing, "/runs/")
