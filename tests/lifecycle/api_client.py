"""Sends the HTTP requests of a script to the REST API and compares the responses.

The reference answers a launch with a stream of events. The API answers with the address of
the run; the same events, in the same order, are derived from its stages and decisions.
Bodies are compared by content, under the field names of the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.test import Client

from tests.lifecycle.page_client import Response
from workflows.access import tokens
from workflows.api.problems import CONTENT_TYPE
from workflows.models import ApiToken

ROOT = "/api/v1"
REASON = {"reason": "As recorded."}  # required here, unknown to the reference
LAUNCH = re.compile(r"/workflows/([^/]+)/execute")
RENAMED = {"workflow_name": "workflow", "data": "items", "total_pages": "next"}
NUMBERED = {"page", "page_size", "total"}  # numbered pages: the API has cursors
STATUSES = {200: {200, 202}, 204: {204}, 400: {400, 404, 409, 422}, 404: {404}}
END = {"completed": "stage.complete", "failed": "error"}


class ApiClient:
    """A client of the API with a token of a superuser."""

    def __init__(self) -> None:
        user = User.objects.filter(is_superuser=True).first()
        user = user or User.objects.create_superuser("operator")
        _, secret = tokens.create(
            user, f"token {ApiToken.objects.count()}", by=user, scopes=["admin"]
        )
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})

    def send(self, method: str, path: str, body: str) -> Response:
        """Send a request that is addressed to a route of the reference."""
        if launch := LAUNCH.fullmatch(path):
            return self._request("POST", f"{ROOT}/workflows/{launch[1]}/runs", body)
        if path == "/workflows":
            return self._request(method, f"{ROOT}/workflows")
        address = path.removeprefix("/workflows").partition("?")[0]
        if method == "DELETE":
            return self._request(method, f"{ROOT}{address}?{urlencode(REASON)}")
        return self._request(
            method, ROOT + address, json.dumps(REASON) if method == "POST" else ""
        )

    def _request(self, method: str, path: str, body: str = "") -> Response:
        answer = self._client.generic(
            method, path, body, content_type="application/json"
        )
        location = answer.headers.get("Location", "")
        return Response(
            answer.status_code,
            location.rpartition("/")[2] if method == "POST" else "",
            path.rpartition("/")[2],
            content_type=answer.headers.get("Content-Type", ""),
            body=json.loads(answer.content) if answer.content else None,
        )

    def events(self, run_id: str) -> list[str]:
        """Return the names of an ended run's events, as the reference streams them."""
        address = f"{ROOT}/runs/{run_id}"
        decisions = self._request("GET", f"{address}/decisions").body
        names = []
        for stage in self._request("GET", f"{address}/stages").body["items"]:
            names += ["stage.start", END[stage["status"]]]
            of_stage = [d for d in decisions if d["sequence"] == stage["sequence"]]
            names += ["decision"] * len(of_stage)
        if self._request("GET", address).body["status"] == "completed":
            names.append("complete")
        return [f"event: {name}" for name in names]


def send_to_api(method: str, path: str, body: Any) -> Response:
    """Send a request of a script to the API; call this on a database thread."""
    return ApiClient().send(method, path, body or "")


def events_of(run_id: str) -> list[str]:
    """Return the event names of an ended run; call this on a database thread."""
    return ApiClient().events(run_id)


def assert_equivalent(wanted: Mapping[str, Any], found: Response) -> None:
    """Assert that a response of the API matches the recorded or corrected response."""
    where = f"{wanted['request']}: {found}"
    status = corrected_status(wanted)
    assert found.status in STATUSES.get(status, {status}), where
    if found.status >= 400:
        assert found.content_type == CONTENT_TYPE, where
        assert found.body["code"], where
        assert found.body["detail"], where
        return
    if wanted.get("body_is_list"):
        assert isinstance(found.body, list) or "items" in found.body, where
    if keys := wanted.get("body_keys"):
        names = {RENAMED.get(key, key) for key in keys} - NUMBERED
        assert names <= found.body.keys(), where
    if wanted["content_type"] == "application/json":
        assert found.content_type.startswith("application/json"), where
    if wanted.get("has_x_run_id"):
        assert found.launched == found.body["id"], where


def corrected_status(wanted: Mapping[str, Any]) -> int:
    """Return the recorded status, or the status that `correct_behaviour` requires."""
    error = (wanted.get("body") or {}).get("error", "")
    if error == "invalid status transition":
        return 409
    if error == "EOF":  # a launch without a body
        return 202
    request = wanted["request"]
    if "00000000-0000-4000-8000" in request and request.endswith(
        ("/stages", "/decisions")
    ):
        return 404
    return int(wanted["http_status"])


def corrected_events(lines: list[str]) -> list[str]:
    """Return the recorded events without repeated errors."""
    return [
        line
        for index, line in enumerate(lines)
        if line != "event: error" or lines[index - 1] != line
    ]
