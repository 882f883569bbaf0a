"""The pages of API tokens and service accounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from workflows.access import tokens
from workflows.models import ApiToken, ServiceAccount

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TOKENS = "/accounts/tokens/"
NEW = f"{TOKENS}new/"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(owner: User, **fields: Any) -> dict[str, Any]:
    given = {"name": "ci", "owner": owner.pk, "scopes": ["read"], "lifetime": "90"}
    return {**given, **fields}


def test_the_secret_of_a_new_token_is_shown_once_and_not_cached(alice: User) -> None:
    client = signed_in(alice)
    response = client.post(NEW, form(alice, workflows=["summarize"]))
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    found = re.search(r'id="secret">(sbx_[\w-]+)<', response.content.decode())
    assert found is not None
    token = ApiToken.objects.get()
    assert tokens.authenticate(found[1]) == token
    assert (token.scopes, token.workflows) == (["read"], ["summarize"])
    assert token.expires_at is not None
    listed = client.get(TOKENS).content.decode()
    assert found[1] not in listed
    assert f"{token.hint}…" in listed


def test_a_rejected_form_names_the_field_and_creates_nothing(alice: User) -> None:
    client = signed_in(alice)
    tokens.create(alice, "ci", by=alice, scopes=["read"])
    for fields, text in (
        ({}, "has a token “ci” already"),
        ({"scopes": []}, "This field is required"),
        ({"lifetime": "8"}, "Select a valid choice"),
    ):
        response = client.post(NEW, form(alice, **fields))
        assert response.status_code == 422
        assert text in response.content.decode()
    assert ApiToken.objects.count() == 1


def test_a_person_sees_and_revokes_only_their_own_tokens(
    alice: User, bob: User
) -> None:
    token, _ = tokens.create(alice, "nightly", by=alice, scopes=["read"])
    address = f"{TOKENS}{token.pk}/revoke/"
    assert "nightly" not in signed_in(bob).get(TOKENS).content.decode()
    assert signed_in(bob).post(address).status_code == 404
    response = signed_in(alice).post(address, follow=True)
    assert "Token “nightly” revoked." in response.content.decode()
    assert ApiToken.objects.get().revoked_at is not None


def test_an_expired_token_is_marked(alice: User) -> None:
    tokens.create(alice, "old", by=alice, scopes=["read"])
    ApiToken.objects.update(expires_at=timezone.now())
    assert ">expired<" in signed_in(alice).get(TOKENS).content.decode()


def test_a_manager_adds_a_service_account_and_its_token(
    admin: User, alice: User
) -> None:
    client = signed_in(admin)
    address = "/accounts/service-accounts/new/"
    client.post(address, {"name": "importer", "description": "Nightly import"})
    account = ServiceAccount.objects.get()
    assert not account.user.has_usable_password()
    response = client.post(NEW, form(account.user, name="night"))
    assert response.status_code == 201
    assert ApiToken.objects.get().owner == account.user
    listed = client.get(TOKENS).content.decode()
    assert "Nightly import" in listed
    assert client.post(address, {"name": "importer"}).status_code == 422
    assert client.post(address, {"name": "no spaces!"}).status_code == 422
    refused = signed_in(alice).post(NEW, form(account.user, name="stolen"))
    assert refused.status_code == 422
    assert ApiToken.objects.count() == 1


def test_service_accounts_are_offered_to_managers_only(alice: User) -> None:
    assert "Service accounts" not in signed_in(alice).get(TOKENS).content.decode()
