"""Anyone who manages accounts and groups cannot extend their own permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from tests.support.factories import make_role, make_user
from workflows.access.escalation import Power
from workflows.models import AuditEvent, WorkflowPermission

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
FLOW = "classify-document"
RIGHT = "/admin/workflows/workflowpermission/"
NOT_YOURS = "Only a superuser can grant"


@pytest.fixture
def keeper() -> User:
    """Return an administrator who is no superuser."""
    person = make_user("keeper", is_staff=True)
    person.groups.add(make_role("admin"))
    return person


@pytest.fixture
def page(keeper: User, sign_in: SignIn) -> Client:
    return sign_in(keeper)


@pytest.fixture
def readers() -> Group:
    """Return a group that alone reads the data of a workflow."""
    group = make_role("readers")
    WorkflowPermission.objects.create(
        workflow_name=FLOW, group=group, can_view=True, can_read=True
    )
    return group


def account_form(person: User, **changes: Any) -> dict[str, Any]:
    return {
        "username": person.username,
        "is_active": "on",
        "is_staff": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "groups": [group.pk for group in person.groups.all()],
        **changes,
    }


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def test_an_editor_cannot_change_the_groups_of_their_own_account(
    page: Client, keeper: User, readers: Group
) -> None:
    path = f"/admin/auth/user/{keeper.pk}/change/"
    page.post(path, account_form(keeper, groups=[readers.pk], is_superuser="on"))
    assert [group.name for group in keeper.groups.all()] == ["admin"]
    assert not User.objects.get(pk=keeper.pk).is_superuser


def test_an_editor_cannot_grant_a_group_permissions_they_lack(
    page: Client, keeper: User
) -> None:
    lacking = Permission.objects.get(codename="delete_accessattempt")
    role = make_role("admin")
    kept = [one.pk for one in role.permissions.all()]
    form = {"name": "admin", "permissions": [*kept, lacking.pk]}
    answer = page.post(f"/admin/auth/group/{role.pk}/change/", form)
    assert NOT_YOURS in text_of(answer)
    assert not role.permissions.filter(pk=lacking.pk).exists()
    form = {"name": "new", "permissions": [lacking.pk]}
    assert NOT_YOURS in text_of(page.post("/admin/auth/group/add/", form))
    form = {"name": "new", "permissions": [kept[0]]}
    assert page.post("/admin/auth/group/add/", form).status_code == 302


def test_no_one_is_put_into_a_group_that_has_more_than_the_editor(
    page: Client, readers: Group
) -> None:
    strong = Group.objects.create(name="strong")
    strong.permissions.add(Permission.objects.get(codename="delete_accessattempt"))
    puppet = make_user("puppet")
    path = f"/admin/auth/user/{puppet.pk}/change/"
    for group in (strong, readers):
        answer = page.post(path, account_form(puppet, groups=[group.pk]))
        assert f"the permissions of {group.name}" in text_of(answer)
    assert not puppet.groups.exists()
    operators = make_role("operator").pk
    answer = page.post(path, account_form(puppet, groups=[operators]))
    assert answer.status_code == 302
    assert puppet.groups.get().pk == operators


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("view", ["change", "password", "delete"])
def test_an_editor_cannot_take_over_an_account_with_more_access(
    page: Client, readers: Group, view: str, is_active: bool
) -> None:
    reader = make_user("reader")
    reader.groups.add(readers)
    User.objects.filter(pk=reader.pk).update(is_active=is_active)
    before = User.objects.get(pk=reader.pk).password
    form = account_form(reader, password1="Other-4711", password2="Other-4711")
    answer = page.post(f"/admin/auth/user/{reader.pk}/{view}/", {**form, "post": "yes"})
    assert answer.status_code == 403
    assert User.objects.get(pk=reader.pk).password == before


def test_data_is_not_granted_by_who_cannot_read_it(
    page: Client, readers: Group
) -> None:
    form = {"workflow_name": FLOW, "can_view": "on", "can_read": "on"}
    for group in ("", make_role("admin").pk, make_role("operator").pk):
        answer = page.post(f"{RIGHT}add/", {**form, "group": group})
        assert f"{NOT_YOURS} what you don’t have yourself" in text_of(answer)
    assert WorkflowPermission.objects.count() == 1
    row = WorkflowPermission.objects.get()
    others = {**form, "group": make_role("operator").pk}
    assert NOT_YOURS in text_of(page.post(f"{RIGHT}{row.pk}/change/", others))
    same = {**form, "group": readers.pk, "can_launch": "on"}
    assert page.post(f"{RIGHT}{row.pk}/change/", same).status_code == 302


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("{row}/delete/", {"post": "yes"}),
        (
            "{row}/change/",
            {"workflow_name": FLOW, "group": "{group}", "can_view": "on"},
        ),
        ("", {"action": "delete_selected", "_selected_action": "{row}", "post": "yes"}),
    ],
)
def test_a_restriction_of_data_is_not_lifted_by_who_it_restricts(
    page: Client, readers: Group, path: str, form: dict[str, str]
) -> None:
    row = WorkflowPermission.objects.get()
    names = {"row": row.pk, "group": readers.pk}
    sent = {name: value.format(**names) for name, value in form.items()}
    answer = page.post(RIGHT + path.format(**names), sent)
    assert answer.status_code == 403
    assert "would extend your own permissions" in text_of(answer)
    assert "successfully" not in text_of(answer)
    assert WorkflowPermission.objects.get().can_read
    assert not AuditEvent.objects.exists()


def test_the_group_that_restricts_data_cannot_be_deleted_or_taken_over(
    page: Client, keeper: User, readers: Group
) -> None:
    path = f"/admin/auth/group/{readers.pk}/delete/"
    assert page.post(path, {"post": "yes"}).status_code == 403
    own = Group.objects.create(name="keepers")
    keeper.groups.add(own)
    answer = page.post(f"/admin/auth/group/{own.pk}/change/", {"name": "directors"})
    assert answer.status_code == 403  # approvals name their groups
    assert Group.objects.filter(name="keepers").exists()


def test_a_superuser_may_do_all_of_it(
    admin: User, sign_in: SignIn, readers: Group, keeper: User
) -> None:
    page = sign_in(admin)
    path = f"/admin/auth/user/{keeper.pk}/change/"
    assert page.post(path, account_form(keeper, groups=[readers.pk])).status_code == 302
    assert keeper.groups.get() == readers
    row = WorkflowPermission.objects.get()
    assert page.post(f"{RIGHT}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Power.of(admin).has_grown_since(Power.of(admin))
