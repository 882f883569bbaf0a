"""Fixtures of the API's tests: a client with a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

Caller = Callable[..., "Client"]


@pytest.fixture
def api_client(db: None) -> Caller:
    """Return a function that gives a client with a new token of a user."""
    from django.test import Client

    from workflows.access import tokens
    from workflows.models import ApiToken

    def client(user: User, *scopes: str, **fields: Any) -> Client:
        name = f"token {ApiToken.objects.count()}"
        granted = scopes or ("admin",)
        _, secret = tokens.create(user, name, by=user, scopes=granted, **fields)
        return Client(headers={"Authorization": f"Bearer {secret}"})

    return client
