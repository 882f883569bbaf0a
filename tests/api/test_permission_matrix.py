"""Compare the response of every operation of the API with docs/permissions.md.

The table has the response for each role, and the scopes with which a token of a superuser
is accepted. A new operation fails until the table contains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from tests.api.conftest import Caller
from tests.support.api_requests import operations, path_of, run_of, send
from tests.support.permission_fixtures import (
    COLUMNS,
    WORD,
    World,
    leaks,
    make_world,
    user_of,
)
from tests.support.permission_table import entries
from tests.support.responses import text_of
from workflows.models import Destination, DestinationKind, TokenScope
from workflows.models.destinations import personal_name

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TABLE = {entry.name: entry.expected for entry in entries("Operation")}
ROLES = [column for column in COLUMNS if column != "anonymous"]
SCOPES = [scope.value for scope in TokenScope if scope != TokenScope.ADMIN]
ANY = "any"

pytestmark = pytest.mark.django_db


def outcome_of(response: Any) -> str:
    """Return the word of the table for a response."""
    words = {401: "sign in", 403: "no", 404: "404"}
    status = response.status_code
    assert status < 500, text_of(response)
    return words.get(status, "yes")


def sent(client: Client, world: World, operation: tuple[str, str, str]) -> Any:
    """Send a request, and take back what it changed."""
    with transaction.atomic():
        response = send(client, *operation, world)
        text = text_of(response)
        transaction.set_rollback(True)
    return response, text


def give_chat(person: User) -> None:
    """Give a person a chat, so that a missing one is not why a request is refused."""
    kind = DestinationKind.PERSONAL
    name = personal_name(kind, person.pk)
    Destination.objects.create(
        kind=kind, name=name, owner=person, url="jsons://example.org/***"
    )


def test_every_operation_is_in_the_table() -> None:
    known = {f"{method} {address}" for method, address, _ in operations()}
    assert known == set(TABLE)


def test_every_operation_requires_authentication() -> None:
    world = make_world()
    for operation in operations():
        response, text = sent(Client(), world, operation)
        assert response.status_code == 401, operation
        assert leaks("anonymous", world, "", text) == []


@pytest.mark.parametrize("column", ROLES)
def test_every_role_gets_the_response_in_the_table(
    api_client: Caller, settings: Settings, column: str
) -> None:
    settings.DEFAULT_ACCESS = "open" if column == "open" else "closed"
    world, person = make_world(), user_of(column)
    assert person is not None
    give_chat(person)
    client, wrong = api_client(person), []
    for method, address, name in operations():
        entry = f"{method} {address}"
        response, text = sent(client, world, (method, address, name))
        expected, found = TABLE[entry][column], outcome_of(response)
        if found != expected:
            wrong.append(f"{entry}: {found}, not {expected}: {text[:200]}")
        if found_words := leaks(column, world, path_of(address, name, world), text):
            wrong.append(f"{entry} contains {found_words}")
    assert wrong == []


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_is_accepted_with_the_scopes_in_the_table(
    admin: User, api_client: Caller, settings: Settings, scope: str
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    give_chat(admin)
    world, client, wrong = make_world(), api_client(admin, scope), []
    for method, address, name in operations():
        entry = f"{method} {address}"
        response, text = sent(client, world, (method, address, name))
        scopes = TABLE[entry]["scopes"].split(", ")
        if (outcome_of(response) == "yes") != (scope in scopes or scopes == [ANY]):
            wrong.append(f"{entry} with {scope}: {response.status_code}, {text[:200]}")
        if scope not in {"read", "approve"} and WORD in text:
            wrong.append(f"{entry} with {scope} contains hidden values")
    assert wrong == []


def test_a_hidden_run_gets_the_response_of_a_missing_one(
    api_client: Caller, settings: Settings
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world, person = make_world(), user_of("member")
    assert person is not None
    client, missing = api_client(person), str(uuid4())
    for method, address, name in operations():
        if "<run_id>" not in address:
            continue
        _, text = sent(client, world, (method, address, name))
        run = run_of(name, world)
        fake = address.replace("<run_id>", missing)
        _, other = sent(client, world, (method, fake, name))
        assert text.replace(str(run.pk), missing) == other, address
