"""Batches of launches by the API."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.api.conftest import Caller
from tests.services.test_batches import PRESS, press_workflow
from workflows.models import Run

__all__ = ["press_workflow"]  # a fixture
pytestmark = pytest.mark.django_db


def test_the_api_launches_a_batch_once_per_key(alice: User, api_client: Caller) -> None:
    client = api_client(alice)
    path = f"/api/v1/workflows/{PRESS}/batches"
    lines = '{"title": "a"}\n{"title": "b", "copies": 2}\n'

    def send(body: str, kind: str, **headers: str) -> Any:
        return client.post(path, body.encode(), content_type=kind, headers=headers)

    key = {"Idempotency-Key": "k"}
    first = send(lines, "application/x-ndjson", **key)
    again = send(lines, "application/x-ndjson", **key)
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["done"] == Run.objects.count() == 2
    refused = send("title,copies\na,0\n", "text/csv")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "row 1, copies"
    file = io.BytesIO(b"title\nc\n")
    file.name = "rows.csv"
    assert client.post(path, {"file": file}).status_code == 202
    found = client.get(f"/api/v1/bulk-actions/{first.json()['id']}/runs").json()
    assert {item["result"] for item in found["items"]} == {"done"}
