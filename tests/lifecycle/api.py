"""What a script asks over HTTP, asked of the REST API, and its answers in meaning.

The reference answers a launch with the stream of its events. The API answers it with the
address of the run; the same events, in the same order, follow from its stages and
decisions. Bodies are compared by what they contain, under the names of the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.test import Client

from tests.lifecycle.requests import Response
from workflows.access import tokens
from workflows.api.problems import CONTENT_TYPE
from workflows.models import ApiToken

ROOT = "/api/v1"
REASON = {"reason": "As recorded."}  # the reference asks for none
LAUNCH = re.compile(r"/workflows/([^/]+)/execute")
RENAMED = {"workflow_name": "workflow", "data": "items", "total_pages": "next"}
NUMBERED = {"page", "page_size", "total"}  # of pages by number: the API has cursors
STATUSES = {200: {200, 202}, 204: {204}, 400: {400, 404, 409, 422}, 404: {404}}
END = {"completed": "stage.complete", "failed": "error"}


class Api:
    """A client of the API with a token of a superuser."""

    def __init__(self) -> None:
        person = User.objects.filter(is_superuser=True).first()
        person = person or User.objects.create_superuser("operator")
        _, secret = tokens.create(
            person, f"token {ApiToken.objects.count()}", by=person, scopes=["admin"]
        )
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})

    def ask(self, method: str, path: str, body: str) -> Response:
        """Ask what a script asks a route of the reference."""
        if launch := LAUNCH.fullmatch(path):
            return self._sent("POST", f"{ROOT}/workflows/{launch[1]}/runs", body)
        if path == "/workflows":
            return self._sent(method, f"{ROOT}/workflows")
        place = path.removeprefix("/workflows").partition("?")[0]
        if method == "DELETE":
            return self._sent(method, f"{ROOT}{place}?{urlencode(REASON)}")
        return self._sent(
            method, ROOT + place, json.dumps(REASON) if method == "POST" else ""
        )

    def _sent(self, method: str, path: str, body: str = "") -> Response:
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
        """Return the events of an ended run, as the reference streams them."""
        address = f"{ROOT}/runs/{run_id}"
        decided = self._sent("GET", f"{address}/decisions").body
        found = []
        for stage in self._sent("GET", f"{address}/stages").body["items"]:
            found += ["stage.start", END[stage["status"]]]
            after = [one for one in decided if one["sequence"] == stage["sequence"]]
            found += ["decision"] * len(after)
        if self._sent("GET", address).body["status"] == "completed":
            found.append("complete")
        return [f"event: {name}" for name in found]


def ask_the_api(method: str, path: str, body: Any) -> Response:
    """Ask the API what a script asks the reference; call it on a database thread."""
    return Api().ask(method, path, body or "")


def events_of(run_id: str) -> list[str]:
    """Return the events of an ended run; call it on a database thread."""
    return Api().events(run_id)


def assert_same_meaning(wanted: Mapping[str, Any], found: Response) -> None:
    """An answer of the API means what the reference answered, or should have answered."""
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
    """Return the recorded status, or the one that `correct_behaviour` asks for."""
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
    """Return recorded events with each error once."""
    return [
        line
        for place, line in enumerate(lines)
        if line != "event: error" or lines[place - 1] != line
    ]
