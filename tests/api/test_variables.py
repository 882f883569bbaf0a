"""Variables and secrets over the API: defined, listed without secrets, deleted, audited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Caller
from workflows.execution import variables as stored_variables
from workflows.models import AuditEvent, Variable

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
URL = "/api/v1/variables"
OURS = "classify-document"
SECRET = "a secret of the bank"


@pytest.fixture
def client(admin: User, api_client: Caller) -> Any:
    return api_client(admin)


def put(client: Any, name: str, **body: Any) -> Any:
    return client.put(
        f"{URL}/{name}", json.dumps(body), content_type="application/json"
    )


def readable(name: str, workflow: str) -> Any:
    """Return the values that runs of a workflow read."""
    rows = list(Variable.objects.filter(name=name))
    return stored_variables.build(rows, workflow, lambda _: None)


def test_a_variable_is_defined_replaced_and_deleted(client: Any) -> None:
    made = put(client, "smtp_host", value="a.example", workflows=[OURS])
    assert (made.status_code, made.json()["value"]) == (201, "a.example")
    changed = put(client, "smtp_host", value="b.example", description="Mail")
    assert (changed.status_code, changed.json()["workflows"]) == (200, [])
    (listed,) = client.get(URL).json()
    assert (listed["name"], listed["value"], listed["is_secret"]) == (
        "smtp_host",
        "b.example",
        False,
    )
    assert client.delete(f"{URL}/smtp_host").status_code == 422, "it needs a reason"
    address = f"{URL}/smtp_host?reason=Not+used."
    assert client.delete(address).status_code == 204
    gone = client.delete(address)
    assert (gone.status_code, gone.json()["code"]) == (404, "variable_not_found")
    actions = [f"{verb} variable" for verb in ("add", "change", "delete")]
    found = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert [one for one in found if "variable" in one] == actions


def test_a_secret_is_in_no_response_and_in_no_audit_event(client: Any) -> None:
    texts = [put(client, "bank", secret=SECRET, workflows=[OURS]).content.decode()]
    assert readable("bank", OURS).secrets["bank"] == SECRET
    kept = put(client, "bank", description="Of the bank", workflows=[OURS])
    assert kept.json()["value"] is None
    assert readable("bank", OURS).secrets["bank"] == SECRET
    put(client, "bank", secret=f"{SECRET} 2", workflows=[OURS])
    assert readable("bank", OURS).secrets["bank"] == f"{SECRET} 2"
    texts += [client.get(URL).content.decode(), kept.content.decode()]
    texts += [str(row.__dict__) for row in AuditEvent.objects.all()]
    assert len(texts) > 4
    assert not any(SECRET in text for text in texts)


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("smtp-host", {"value": ""}, "name"),
        ("new", {}, ""),
        ("new", {"value": "a", "secret": "b"}, ""),
        ("new", {"value": "a", "workflows": ["nothing"]}, "workflows"),
        ("new", {"value": "a\x00"}, "value"),
        ("new", {"secret": ""}, "secret"),
        ("bank", {"value": "a"}, "value"),
        ("host", {"secret": "a"}, "secret"),
        ("host", {}, ""),
    ],
)
def test_what_does_not_fit_is_refused_by_field(
    client: Any, name: str, body: dict[str, Any], field: str
) -> None:
    put(client, "bank", secret=SECRET)
    put(client, "host", value="a.example")
    refused = put(client, name, **body)
    assert refused.status_code == 422
    assert field in [one["field"] for one in refused.json()["errors"]]
    assert set(Variable.objects.values_list("name", flat=True)) == {"bank", "host"}


def test_only_a_token_of_an_administrator_defines_variables(
    admin: User, alice: User, api_client: Caller
) -> None:
    clients = [api_client(admin, "read", "launch", "operate"), api_client(alice)]
    for client in clients:
        for response in (
            client.get(URL),
            put(client, "host", value="a"),
            client.delete(f"{URL}/host?reason=x"),
        ):
            assert (response.status_code, response.json()["code"]) == (
                403,
                "not_allowed",
            )
    assert not Variable.objects.exists()
