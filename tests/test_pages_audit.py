"""The audit: who did what, why and from where; for those who may see all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.factories import make_intervention, make_run, make_user
from tests.sealing import found
from workflows.models import Intervention, Price, Status, WorkflowRight
from workflows.pages import walk
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(sign_in: SignIn) -> Client:
    """Return an auditor's browser."""
    auditor = make_user("auditor")
    auditor.groups.add(Group.objects.get(name="auditor"))
    return sign_in(auditor)


def text_of(page: Client, query: str = "") -> str:
    answer = page.get(f"/audit/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_deed_is_shown_with_who_what_why_and_from_where(
    page: Client, alice: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.PENDING)
    sign_in(alice).post(f"/runs/{run.pk}/cancel/", {"reason": "the wrong page"})
    text = text_of(page)
    for said in ("alice", "cancel", "pending → cancelled", "the wrong page"):
        assert said in text
    assert "127.0.0.1" in text
    assert f'href="/runs/{run.pk}/"' in text


def test_deeds_stay_when_their_run_goes(page: Client, alice: User) -> None:
    run = make_run()
    system.delete_run(run.pk, by=alice, reason="too old")
    text = text_of(page, f"?run={run.pk}")
    assert "too old" in text
    assert "(removed)" in text
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
def test_it_can_be_narrowed(page: Client, query: str, shown: list[str]) -> None:
    run = make_run()
    make_intervention(run, reason="first", address="192.0.2.1")
    make_intervention(run, reason="second", actor_name="bob", action="resume")
    make_intervention(run, reason="third", action="label", workflow_name="sum")
    text = text_of(page, f"?{query}")
    found = [word for word in ("first", "second", "third") if f"<q>{word}" in text]
    assert found == shown


def test_it_goes_on_by_key(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "PAGE", 2)
    run = make_run()
    rows = [make_intervention(run, reason=f"reason {n}") for n in range(5)]
    text = text_of(page)
    assert "reason 4" in text
    assert f"before={rows[3].pk}" in text
    assert "reason 2" in text_of(page, f"?before={rows[3].pk}")


def test_it_is_for_those_who_may_see_all(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    assert client.get("/audit/").status_code == 403
    assert "/audit/" not in client.get("/").content.decode()
    assert Client().get("/audit/").status_code == 302


def test_reasons_are_values(page: Client) -> None:
    others = Group.objects.create(name="others")
    WorkflowRight.objects.create(
        workflow_name="sum", group=others, may_see=True, may_read=True
    )
    make_intervention(make_run(), reason="about a patient", workflow_name="sum")
    assert "about a patient" not in text_of(page)
    assert "No" not in text_of(page, "?text=patient").split("<main")[0]
    assert "for those who may read values" in text_of(page)
    assert "about a patient" not in text_of(page, "?text=patient")


def test_the_number_of_queries_stays_flat(
    page: Client, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    for _ in range(30):
        make_intervention(make_run())
    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]
        text_of(page)


# Django admin -----------------------------------------------------------------------------


def test_the_history_of_a_run_in_admin_is_what_people_did(
    admin: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.PENDING)
    client = sign_in(admin)
    path = f"/admin/workflows/run/{run.pk}/history/"
    assert "Nobody has done anything" in client.get(path).content.decode()
    client.post(f"/runs/{run.pk}/cancel/", {"reason": "the wrong page"})
    text = client.get(path).content.decode()
    assert "the wrong page" in text
    assert "127.0.0.1" in text
    assert "pending → cancelled" in text


def test_what_is_changed_in_admin_is_an_intervention(
    admin: User, sign_in: SignIn
) -> None:
    client = sign_in(admin)
    given = {"model": "m", "per_million_in": "1", "per_million_out": "2"}
    client.post("/admin/workflows/price/add/", given)
    price = Price.objects.get()
    changed = given | {"per_million_in": "3"}
    client.post(f"/admin/workflows/price/{price.pk}/change/", changed)
    client.post(f"/admin/workflows/price/{price.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/group/add/", {"name": "readers"})
    rows = Intervention.objects.order_by("pk").values_list(
        "actor_name", "action", "reason", "address"
    )
    assert list(rows) == [
        ("admin", "add price", "m: Added.", "127.0.0.1"),
        ("admin", "change price", "m: Changed Per million in.", "127.0.0.1"),
        ("admin", "delete price", "m", "127.0.0.1"),
        ("admin", "add group", "readers: Added.", "127.0.0.1"),
    ]
    assert found() == []
