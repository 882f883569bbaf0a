"""Variables in Django admin: secrets are written, never read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client

from workflows.execution import variables
from workflows.infra.encryption import decrypt
from workflows.models import AuditEvent, Variable

pytestmark = pytest.mark.django_db
ADD = "/admin/workflows/variable/add/"
READER = "classify-document"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    variables.forget()


@pytest.fixture
def page(admin: User, client: Client) -> Client:
    client.force_login(admin)
    return client


def form(**values: Any) -> dict[str, Any]:
    return {"name": "bank", "workflows": [READER], **values}


def change(row: Variable) -> str:
    return f"/admin/workflows/variable/{row.pk}/change/"


def test_a_variable_is_stored_with_its_readers(page: Client) -> None:
    answer = page.post(ADD, form(name="smtp_host", value=" mail "))
    assert answer.status_code == 302, answer.content.decode()
    row = Variable.objects.get()
    assert (row.value, row.is_secret, row.workflows) == (" mail ", False, [READER])
    assert row.is_readable_by(READER)
    assert not row.is_readable_by("another")


def test_a_secret_is_encrypted_and_never_shown_or_recorded(page: Client) -> None:
    page.post(ADD, form(is_secret="on", new_secret="tell-nobody"))
    row = Variable.objects.get()
    assert decrypt(row.secret) == {"value": "tell-nobody"}
    assert "A secret is stored" in page.get(change(row)).content.decode()
    page.post(change(row), form(new_secret="tell-no-one"))
    row.refresh_from_db()
    assert decrypt(row.secret) == {"value": "tell-no-one"}
    shown = "".join(
        page.get(path).content.decode()
        for path in (change(row), "/admin/workflows/variable/", "/audit/")
    )
    assert "tell-n" not in shown
    events = AuditEvent.objects.filter(action__endswith="variable").order_by("pk")
    assert [event.action for event in events] == ["add variable", "change variable"]
    assert (events[1].after or {})["secret"] == "another"


def test_an_empty_field_keeps_the_secret(page: Client) -> None:
    page.post(ADD, form(is_secret="on", new_secret="tell-nobody"))
    row = Variable.objects.get()
    page.post(change(row), form(description="of the bank", workflows=[]))
    row.refresh_from_db()
    assert (row.description, row.workflows) == ("of the bank", [])
    assert row.is_secret
    assert decrypt(row.secret) == {"value": "tell-nobody"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"is_secret": "on"}, "Enter the secret."),
        ({"is_secret": "on", "new_secret": "x", "value": "y"}, "no readable value"),
        ({"new_secret": "x"}, "Check “This is a secret”"),
        ({"name": "a-b", "value": "x"}, "Use letters, digits"),
        (
            {"value": "x", "workflows": ["nowhere"]},
            "nowhere is not one of the available",
        ),
    ],
)
def test_a_contradiction_is_refused_in_the_form(
    page: Client, values: dict[str, Any], says: str
) -> None:
    answer = page.post(ADD, form(**values))
    assert says in answer.content.decode()
    assert not Variable.objects.exists()


def test_a_stored_secret_cannot_be_turned_into_a_variable(page: Client) -> None:
    page.post(ADD, form(is_secret="on", new_secret="tell-nobody"))
    row = Variable.objects.get()
    page.post(change(row), {"name": "bank", "is_secret": "", "value": "x"})
    row.refresh_from_db()
    assert row.is_secret
    with pytest.raises(IntegrityError), transaction.atomic():
        Variable.objects.update(is_secret=False)
