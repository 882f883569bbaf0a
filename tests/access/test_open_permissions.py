"""Pages offer only permitted actions, and warn about open permissions."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from tests.support.factories import make_run, make_user
from tests.support.responses import text_of
from workflows.models import WorkflowPermission

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
NAME = "classify-document"
MAIN = re.compile(r"<main.*</main>", re.DOTALL)
LINK = re.compile(r'href="(/[^"#]*|\?[^"#]*)')
EMPTY_PAGES = (
    "/",
    "/workflows/",
    "/runs/",
    "/runs/views/",
    "/decisions/",
    "/approvals/",
    "/documents/",
    "/agents/",
    "/agents/budgets/",
    "/compare/",
    "/accounts/password/",
)
WARNING = "Open access: roles are not enforced."


def main_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    found = MAIN.search(answer.content.decode())
    assert found
    return unescape(" ".join(found[0].split()))


def member_of(*roles: str) -> User:
    person = make_user()
    person.groups.set(Group.objects.filter(name__in=roles))
    return person


@pytest.fixture
def closed(settings: Settings) -> None:
    settings.DEFAULT_ACCESS = "closed"


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("address", EMPTY_PAGES)
@pytest.mark.parametrize("role", ["", "viewer"])
def test_a_page_offers_permitted_actions_only(
    role: str, address: str, sign_in: SignIn
) -> None:
    client = sign_in(member_of(role))
    text = main_of(client, address)
    assert "workflows.py" not in text
    for offer in ("Launch a", "Upload a document", "Upload a PDF"):
        assert offer not in text, offer
    for link in LINK.findall(text):
        target = link if link.startswith("/") else address + link
        answer = client.get(target)
        assert answer.status_code == 200, target
        text_of(answer)  # an unread download occupies a slot


@pytest.mark.usefixtures("closed")
def test_a_member_without_a_role_is_referred_to_an_administrator(
    sign_in: SignIn,
) -> None:
    client = sign_in(member_of())
    for address in ("/", "/workflows/"):
        text = main_of(client, address)
        assert "You don’t have access to any workflow. Ask an administrator" in text
    for address in ("/", "/runs/"):
        assert "No runs yet." in main_of(client, address)


@pytest.mark.usefixtures("closed")
def test_a_viewer_of_a_workflow_is_not_invited_to_launch_it(sign_in: SignIn) -> None:
    run = make_run(workflow_name=NAME)
    viewer = sign_in(member_of("viewer"))
    assert "Launch another" not in main_of(viewer, f"/compare/?a={run.pk}")
    run.delete()
    text = main_of(viewer, f"/workflows/{NAME}/")
    assert "You don’t have permission to launch this workflow." in text
    assert "No runs yet." in text
    assert "launch it" not in text.replace("to launch this", "")


def test_a_user_who_can_launch_is_invited_to_launch(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert "Launch a workflow" in main_of(client, "/")
    assert "Launch a workflow" in main_of(client, "/runs/")
    assert "Upload a document" in main_of(client, "/")
    assert "Launch a workflow" in main_of(client, "/decisions/")
    assert "No runs yet." in main_of(client, f"/workflows/{NAME}/")


ADMIN_PAGES = (
    "/admin/",
    "/admin/auth/group/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/workflows/workflowpermission/",
    "/admin/workflows/workflowpermission/add/",
)


def test_open_permissions_cause_a_warning_where_roles_are_assigned(
    admin: User, alice: User, sign_in: SignIn
) -> None:
    client = sign_in(admin)
    for address in ("/", *ADMIN_PAGES):
        assert WARNING in main_of(client, address), address
    assert WARNING not in main_of(client, "/admin/workflows/run/")
    assert WARNING not in main_of(sign_in(alice), "/")


def test_a_single_administrator_gets_no_warning_on_the_home_page(
    admin: User, sign_in: SignIn
) -> None:
    assert WARNING not in main_of(sign_in(admin), "/")


@pytest.mark.usefixtures("closed", "alice")
def test_closed_permissions_need_no_warning(admin: User, sign_in: SignIn) -> None:
    client = sign_in(admin)
    for address in ("/", *ADMIN_PAGES):
        assert WARNING not in main_of(client, address), address


def effects(client: Client) -> dict[str, str]:
    text = main_of(client, "/admin/auth/group/")
    rows = re.findall(r'group/\d+/change/">([^<]*)</a>.*?field-effect">([^<]*)<', text)
    return dict(rows)


def test_admin_describes_the_effect_of_a_group(
    admin: User, sign_in: SignIn, settings: Settings
) -> None:
    client = sign_in(admin)
    lawyers = Group.objects.create(name="lawyers")
    WorkflowPermission.objects.create(workflow_name=NAME, group=lawyers, can_view=True)
    found = effects(client)
    nothing = "None while permissions are open: all users have these permissions."
    assert found["viewer"] == found["launcher"] == nothing
    assert found["operator"] == "While permissions are open, only: can view worker."
    assert "more." in found["auditor"]
    assert found["lawyers"] == f"Workflow permissions for {NAME}."
    settings.DEFAULT_ACCESS = "closed"
    assert effects(client)["viewer"] == "By its permissions."


def test_everyone_can_view_their_own_permissions(
    sign_in: SignIn, settings: Settings
) -> None:
    client = sign_in(member_of("viewer"))
    text = main_of(client, "/accounts/password/")
    assert "Group: <b>viewer</b>" in text
    assert "Open access" in text
    settings.DEFAULT_ACCESS = "closed"
    assert "Open access" not in main_of(client, "/accounts/password/")
