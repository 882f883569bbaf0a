"""Moments in requests with any offset, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.api.conftest import Caller

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
ADDRESSES = ("usage", "exports/usage", "runs", "exports/calls")
FAR_OFFSET = quote("2026-09-12T07:14:30-18:55")  # PostgreSQL reads up to 15:59
AFTER_THE_YEARS = quote("9999-12-31T23:59:59-10:00")


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_moment_may_have_any_offset_and_has_to_exist_in_utc(
    admin: User, api_client: Caller, address: str
) -> None:
    client = api_client(admin)
    found = client.get(f"/api/v1/{address}?since={FAR_OFFSET}")
    assert found.status_code == 200
    refused = client.get(f"/api/v1/{address}?since={AFTER_THE_YEARS}")
    assert refused.status_code == 422
    assert "has to be in the years 1 to 9999 in UTC" in refused.content.decode()
