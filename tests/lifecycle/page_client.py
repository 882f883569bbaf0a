"""Sends the HTTP requests of a script to the pages, and lists runs through System.

Only the outcome is compared. The reference answers in JSON with 200, 204, 404, 500, or 400
for any other error of the caller. The pages redirect after an action and distinguish 409
(wrong status), 422 (invalid values) and 404 (invalid id).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_run
from workflows.engine.errors import RequestError
from workflows.models import Run
from workflows.services.run_order import SORTABLE
from workflows.system import System

PAGE_SIZE = 20  # default of the reference

# method and path of the reference -> method and path of the page
ROUTES = (
    ("GET", r"/workflows", "GET", "/workflows/"),
    ("GET", r"/workflows/runs", "GET", "/runs/"),
    ("GET", r"/workflows/runs/([^/]+)", "GET", "/runs/{}/"),
    ("GET", r"/workflows/runs/([^/]+)/(?:stages|decisions)", "GET", "/runs/{}/steps/"),
    ("DELETE", r"/workflows/runs/([^/]+)", "POST", "/runs/{}/delete/"),
    ("POST", r"/workflows/runs/([^/]+)/cancel", "POST", "/runs/{}/cancel/"),
    ("POST", r"/workflows/runs/([^/]+)/resume", "POST", "/runs/{}/resume/"),
    ("POST", r"/workflows/([^/]+)/execute(?:/stream)?", "POST", "/workflows/{}/"),
)
# status of the reference -> statuses of the pages with the same outcome
OUTCOMES = {
    200: {200, 302},
    201: {200, 302},
    202: {200, 302},
    204: {200, 302},
    400: {400, 404, 409, 422},
    404: {404},
    405: {405},
    409: {409},
    422: {422},
    500: {400, 404, 409, 422},  # an error of the caller is never a server error here
}


@dataclass(frozen=True, slots=True)
class Response:
    """The outcome of a request."""

    status: int
    launched: str = ""  # id of the run it launched
    action: str = ""  # last part of the page's path: "cancel", "resume", "delete", ...
    content_type: str = ""  # content type and body are set for the API only
    body: Any = None


def send(method: str, path: str, body: Any = None) -> Response:
    """Send a request of a script to the matching page; call this on a database thread."""
    method, path = _page_route(method, path)
    superusers = User.objects.filter(is_superuser=True)
    user = superusers.first() or User.objects.create_superuser("operator")
    client = Client()
    client.force_login(user)
    if method != "POST":
        return Response(client.generic(method, path).status_code)
    # The pages require a reason, which the reference does not have.
    reason = {"reason": "As recorded."} if path.startswith("/runs/") else {}
    answer = client.post(path, _form(body) | reason)
    found = re.search(r"/runs/([0-9a-f-]{36})/$", answer.headers.get("Location", ""))
    launched = found[1] if found and path.startswith("/workflows/") else ""
    return Response(answer.status_code, launched, path.rstrip("/").rsplit("/", 1)[-1])


def _page_route(method: str, path: str) -> tuple[str, str]:
    """Return method and path of the page; a method without a route is kept."""
    url = urlsplit(path)
    recorded_path = url.path.removeprefix("/api").rstrip("/")
    query = f"?{url.query}".replace("workflow_name=", "workflow=").rstrip("?")
    routes = [
        (recorded_method, page_method, page_path.format(*match.groups()) + query)
        for recorded_method, pattern, page_method, page_path in ROUTES
        if (match := re.fullmatch(pattern, recorded_path))
    ]
    for recorded_method, page_method, page_path in routes:
        if recorded_method == method:
            return page_method, page_path
    return method, routes[0][2] if routes else path


def _form(body: Any) -> dict[str, str]:
    """Return the form data of a launch in JSON; other bodies are sent unchanged."""
    if not isinstance(body, Mapping):
        return {} if body is None else {"params": str(body)}
    return {"params": json.dumps(body["params"])} if body.get("params") else {}


# -- the list of runs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the list, or the error that was returned instead."""

    status: int
    runs: tuple[str, ...] = ()
    message: str = ""


def list_page(system: System, path: str, sql: Iterable[str]) -> Listed:
    """Return the page of runs for a query; call this on a database thread.

    Offset and size come from the recorded statement, because System does not paginate.
    """
    query = _query(path)
    try:
        runs = system.list_runs(
            workflow=query.get("workflow_name", ""),
            status=query.get("status", ""),
            search=query.get("search", ""),
            sort=_snake(query.get("sort", "")),
        )
    except RequestError as error:
        return Listed(getattr(error, "status", 400), message=str(error))
    return Listed(200, tuple(str(run.pk) for run in runs[_slice_of(sql)]))


def _query(path: str) -> dict[str, str]:
    return {name: v[0] for name, v in parse_qs(urlsplit(path).query).items()}


def _snake(names: str) -> str:
    """Return a field of the reference in snake case: `-CreatedAt` is `-created_at`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", names).lower()


def _slice_of(sql: Iterable[str]) -> slice:
    for statement in sql:
        if found := re.search(r"LIMIT (\d+) OFFSET (\d+)", statement):
            limit, offset = map(int, found.groups())
            return slice(offset, offset + limit)
    return slice(0, PAGE_SIZE)


def fill_list() -> None:
    """Create runs with ties in every column and more than a page per value.

    Their ids have the same order as their creation times, as for all runs.
    """
    first = timezone.now().replace(microsecond=0)
    for number in range(120):
        run = make_run(
            status=("failed", "completed", "cancelled")[number % 3],
            workflow_name=("w", "wf")[number % 2],
        )
        error = "zz went wrong" if number % 5 == 0 else ""
        at = first + dt.timedelta(seconds=number // 4)
        Run.objects.filter(pk=run.pk).update(created_at=at, error_message=error)


def wanted_page(path: str, sql: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that a recorded statement selects, computed from all rows.

    Ties, which the statement leaves open, are ordered by id. The search term of the query
    is applied, which the reference does not do.
    """
    query = _query(path)
    (statement,) = (one for one in sql if "COUNT(*)" not in one)
    rows = sorted(Run.objects.all(), key=lambda row: row.pk, reverse=True)
    for column in re.findall(r"r\.(\w+) = \$", statement):
        rows = [row for row in rows if getattr(row, column) == query[column]]
    if search := query.get("search"):
        rows = [r for r in rows if search in r.workflow_name + r.error_message]
    for column, direction in reversed(_orders(statement)):
        rows.sort(key=attrgetter(column), reverse=direction == "DESC")
    return tuple(str(row.pk) for row in rows[_slice_of(sql)])


def _orders(statement: str) -> list[tuple[str, str]]:
    _, _, order = statement.partition("ORDER BY ")
    return re.findall(r"r\.(\w+) (ASC|DESC)", order)


def is_sortable(sql: Iterable[str]) -> bool:
    """Return whether a recorded order contains only fields that lists can be sorted by."""
    _, _, order = " ".join(sql).partition("ORDER BY ")
    parts = order.partition(" LIMIT ")[0].split(", ")
    known = {
        f"r.{field} {direction}" for field in SORTABLE for direction in ("ASC", "DESC")
    }
    return known.issuperset(parts)
