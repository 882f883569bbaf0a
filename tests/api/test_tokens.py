"""API tokens give less than their owner has, and nothing once revoked."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Caller
from tests.support.factories import make_document, make_role, make_run
from workflows.access import tokens
from workflows.audit.verifier import Checker
from workflows.errors import InvalidToken, NotAllowed, TokenNotFound
from workflows.models import ApiToken, AuditEvent, Status
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RUNS = "/api/v1/runs"


def test_only_the_digest_of_a_token_is_stored(alice: User) -> None:
    token, secret = tokens.create(alice, "ci", by=alice, scopes=["read"])
    assert secret.startswith("sbx_")
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(row)
    assert tokens.authenticate(secret) == token
    assert tokens.authenticate(secret[:-1]) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Bearer sbx_ü", "Basic eA=="]
)
def test_a_request_without_a_valid_token_is_refused(db: None, header: str) -> None:
    response = Client().get(RUNS, headers={"Authorization": header})
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "unauthorized"


def test_a_revoked_expired_or_orphaned_token_is_refused(
    alice: User, api_client: Caller
) -> None:
    client = api_client(alice)
    assert client.get(RUNS).status_code == 200
    tokens.revoke(ApiToken.objects.get().pk, by=alice)
    assert client.get(RUNS).status_code == 401
    expiring = api_client(alice, expires_at=timezone.now() + dt.timedelta(hours=1))
    ApiToken.objects.filter(revoked_at=None).update(expires_at=timezone.now())
    assert expiring.get(RUNS).status_code == 401
    other = api_client(alice)
    alice.is_active = False
    alice.save()
    assert other.get(RUNS).status_code == 401


def test_scopes_narrow_what_the_owner_may_do(alice: User, api_client: Caller) -> None:
    run = make_run(status=Status.FAILED, error_message="The reason.")
    launcher = api_client(alice, "launch")
    shown = launcher.get(f"{RUNS}/{run.pk}").json()
    assert shown["hidden"], "data requires read"
    assert shown["params"] is None
    assert shown["error"]["message"] == "hidden"
    assert launcher.get(f"{RUNS}/{run.pk}/states/0").status_code == 403
    body = {"reason": "Try again."}
    address = f"{RUNS}/{run.pk}/cancel"
    refused = launcher.post(address, body, content_type="application/json")
    assert refused.status_code == 403
    assert refused.json()["code"] == "not_allowed"
    reader = api_client(alice, "read")
    assert reader.get(f"{RUNS}/{run.pk}").json()["params"] == run.params


def test_a_token_for_one_workflow_sees_no_other(
    admin: User, api_client: Caller
) -> None:
    mine, other = make_run(workflow_name="mine"), make_run(workflow_name="other")
    client = api_client(admin)
    ApiToken.objects.update(workflows=["mine"])
    assert [one["id"] for one in client.get(RUNS).json()["items"]] == [str(mine.pk)]
    assert client.get(f"{RUNS}/{other.pk}").status_code == 404


def test_a_limited_token_of_a_superuser_has_no_rights_beyond_runs(admin: User) -> None:
    from workflows.access import permissions

    token, secret = tokens.create(admin, "ci", by=admin, scopes=["operate"])
    found = tokens.authenticate(secret)
    assert found == token
    user = tokens.user_of(found)
    assert not permissions.can_audit(user)
    assert not permissions.can_manage_agents(user)
    assert not permissions.can_give_roles(user)
    assert not permissions.is_superuser(user)
    with pytest.raises(NotAllowed, match="can’t create tokens"):
        tokens.create(user, "more", by=user, scopes=["admin"])


def test_the_audit_log_names_the_owner_and_the_token(
    alice: User, api_client: Caller
) -> None:
    params = {"document": str(make_document().pk)}
    run = system.execute("classify-document", params, by=alice)
    client = api_client(alice, "operate")
    address = f"{RUNS}/{run.pk}/labels"
    client.post(address, {"name": "checked"}, content_type="application/json")
    event = AuditEvent.objects.get(action="label")
    assert (event.actor_name, event.token_name) == ("alice", "token 0")
    assert not list(Checker().run(run.pk))
    AuditEvent.objects.filter(pk=event.pk).update(token_name="")
    assert list(Checker().run(run.pk)), "the seal covers it"


def test_an_administrator_manages_tokens_of_service_accounts_with_less_power(
    admin: User, alice: User, bob: User
) -> None:
    account = tokens.create_service_account("ci", "Nightly imports", by=admin)
    assert not account.user.has_usable_password()
    token, _ = tokens.create(account.user, "import", by=admin, scopes=["launch"])
    with pytest.raises(NotAllowed):
        tokens.create(account.user, "stolen", by=alice, scopes=["launch"])
    with pytest.raises(NotAllowed):
        tokens.create(bob, "stolen", by=admin, scopes=["launch"])
    with pytest.raises(TokenNotFound):
        tokens.revoke(token.pk, by=alice)
    bob.groups.add(make_role("admin"))
    account.user.is_superuser = True
    account.user.save()
    with pytest.raises(NotAllowed, match="has permissions that you lack"):
        tokens.create(account.user, "more", by=bob, scopes=["admin"])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"workflows": ["unknown"]}, "workflows"),
        ({"expires_at": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)}, "expires_at"),
    ],
)
def test_invalid_fields_of_a_token_are_named(
    alice: User, fields: dict[str, object], field: str
) -> None:
    given = {"name": "ci", "scopes": ["read"], **fields}
    with pytest.raises(InvalidToken) as caught:
        tokens.create(alice, given.pop("name"), by=alice, **given)  # type: ignore[arg-type]
    assert list(caught.value.errors) == [field]


def test_a_name_is_used_once_per_owner_until_it_is_revoked(alice: User) -> None:
    token, _ = tokens.create(alice, "ci", by=alice, scopes=["read"])
    with pytest.raises(InvalidToken):
        tokens.create(alice, "ci", by=alice, scopes=["read"])
    tokens.revoke(token.pk, by=alice)
    tokens.create(alice, "ci", by=alice, scopes=["read"])


def test_a_session_is_accepted_with_a_csrf_token_only(alice: User) -> None:
    run = make_run(status=Status.FAILED)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.get(RUNS).status_code == 200
    address = f"{RUNS}/{run.pk}/labels"
    refused = client.post(address, {"name": "x"}, content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"
    assert not run.labels.exists()


def test_requests_with_a_token_are_limited(
    alice: User, api_client: Caller, settings: object
) -> None:
    client = api_client(alice)
    settings.RATES = {**settings.RATES, "api": 2}  # type: ignore[attr-defined]
    answers = [client.get(RUNS) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert int(answers[-1]["Retry-After"]) > 0
