"""Requests to the API that are refused, or accepted with a token, before Django."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from project import refusal_statuses
from project.refusal_responses import is_signed_in, respond
from workflows.access import tokens
from workflows.infra.database_threads import run_in_db

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def scope_of(path: str, secret: str) -> dict[str, Any]:
    value = f"Bearer {secret}".encode()
    return {"path": path, "method": "POST", "headers": [(b"authorization", value)]}


@pytest.mark.django_db(transaction=True)
async def test_a_large_body_to_the_api_needs_a_usable_token(alice: User) -> None:
    token, secret = await run_in_db(
        lambda: tokens.create(alice, "ci", by=alice, scopes=["launch"])
    )
    assert await is_signed_in(scope_of("/api/v1/documents", secret))
    assert not await is_signed_in(scope_of("/api/v1/documents", secret[:-1]))
    assert not await is_signed_in(scope_of("/documents/", secret))
    await run_in_db(lambda: tokens.revoke(token.pk, by=alice))
    assert not await is_signed_in(scope_of("/api/v1/documents", secret))


@pytest.mark.parametrize("path", ["/api/v1/runs", "/mcp"])
@pytest.mark.parametrize(
    "refusal", [refusal_statuses.busy(), refusal_statuses.too_slow()]
)
def test_a_refusal_is_a_problem(refusal: refusal_statuses.Refusal, path: str) -> None:
    response = respond(refusal, scope_of(path, ""), {})
    assert response.status_code == refusal.status
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert (body["code"], body["detail"]) == (refusal.code, str(refusal))
    if refusal.status == 503:
        assert int(response["Retry-After"]) > 0


def test_a_large_body_without_a_token_is_refused_as_by_a_route() -> None:
    response = respond(
        refusal_statuses.signed_out(), scope_of("/api/v1/documents", ""), {}
    )
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert json.loads(response.content)["code"] == "unauthorized"
