"""What a script asks over HTTP: our pages for its routes, and the list of runs.

Only the outcome is compared. The reference answers in JSON, with 200, 204, 404, 400 for
whatever else the caller did wrong, and 500; our pages redirect after an action, and tell
409 (wrong status), 422 (values that do not fit) and 404 (an id that is none) apart.
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

PAGE_SIZE = 20  # the reference's, when a query names none

# method and path of the reference -> method and path of ours
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
# status of the reference -> what ours may be for the same outcome
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
    500: {400, 404, 409, 422},  # nothing a caller does is our error
}


@dataclass(frozen=True, slots=True)
class Response:
    """What came of a request."""

    status: int
    launched: str = ""  # id of the run it launched
    action: str = ""  # the last part of our path: "cancel", "resume", "delete", ...
    content_type: str = ""  # of the API, as its body
    body: Any = None


def ask(method: str, path: str, body: Any = None) -> Response:
    """Ask a page what a script asks a route; call it on a database thread."""
    method, path = _ours(method, path)
    people = User.objects.filter(is_superuser=True)
    person = people.first() or User.objects.create_superuser("operator")
    client = Client()
    client.force_login(person)
    if method != "POST":
        return Response(client.generic(method, path).status_code)
    why = {"reason": "As recorded."} if path.startswith("/runs/") else {}
    answer = client.post(path, _form(body) | why)  # the reference asks for no reason
    found = re.search(r"/runs/([0-9a-f-]{36})/$", answer.headers.get("Location", ""))
    launched = found[1] if found and path.startswith("/workflows/") else ""
    return Response(answer.status_code, launched, path.rstrip("/").rsplit("/", 1)[-1])


def _ours(method: str, path: str) -> tuple[str, str]:
    """Method and path of ours; a method that the route does not have stays as it is."""
    given = urlsplit(path)
    asked = given.path.removeprefix("/api").rstrip("/")
    query = f"?{given.query}".replace("workflow_name=", "workflow=").rstrip("?")
    found = [
        (theirs, ours, place.format(*match.groups()) + query)
        for theirs, pattern, ours, place in ROUTES
        if (match := re.fullmatch(pattern, asked))
    ]
    for theirs, ours, place in found:
        if theirs == method:
            return ours, place
    return method, found[0][2] if found else path


def _form(body: Any) -> dict[str, str]:
    """A launch in JSON as our form sends it; what is no JSON stays as it is."""
    if not isinstance(body, Mapping):
        return {} if body is None else {"params": str(body)}
    return {"params": json.dumps(body["params"])} if body.get("params") else {}


# -- the list of runs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the list, or why there is none."""

    status: int
    runs: tuple[str, ...] = ()
    message: str = ""


def list_page(system: System, path: str, sql: Iterable[str]) -> Listed:
    """Ask System for the page that a query names; call it on a database thread.

    Its place is that of the recorded statement: how large a page is, is not System's.
    """
    given = _query(path)
    try:
        runs = system.list_runs(
            workflow=given.get("workflow_name", ""),
            status=given.get("status", ""),
            search=given.get("search", ""),
            sort=_snake(given.get("sort", "")),
        )
    except RequestError as error:
        return Listed(getattr(error, "status", 400), message=str(error))
    return Listed(200, tuple(str(run.pk) for run in runs[_place(sql)]))


def _query(path: str) -> dict[str, str]:
    return {name: v[0] for name, v in parse_qs(urlsplit(path).query).items()}


def _snake(names: str) -> str:
    """The reference's fields in our spelling: `-CreatedAt` is `-created_at`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", names).lower()


def _place(sql: Iterable[str]) -> slice:
    for statement in sql:
        if found := re.search(r"LIMIT (\d+) OFFSET (\d+)", statement):
            limit, offset = map(int, found.groups())
            return slice(offset, offset + limit)
    return slice(0, PAGE_SIZE)


def fill_list() -> None:
    """Make runs to be listed: with ties in every column, and more than a page of each.

    Their ids sort as the times they were made at, as those of all runs do.
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
    """The page that a recorded statement selects, worked out from all rows.

    Its ties, which it leaves open, go by id; what was searched is looked for, which it
    does not do.
    """
    given = _query(path)
    (statement,) = (one for one in sql if "COUNT(*)" not in one)
    rows = sorted(Run.objects.all(), key=lambda row: row.pk, reverse=True)
    for column in re.findall(r"r\.(\w+) = \$", statement):
        rows = [row for row in rows if getattr(row, column) == given[column]]
    if search := given.get("search"):
        rows = [r for r in rows if search in r.workflow_name + r.error_message]
    for column, way in reversed(_orders(statement)):
        rows.sort(key=attrgetter(column), reverse=way == "DESC")
    return tuple(str(row.pk) for row in rows[_place(sql)])


def _orders(statement: str) -> list[tuple[str, str]]:
    _, _, order = statement.partition("ORDER BY ")
    return re.findall(r"r\.(\w+) (ASC|DESC)", order)


def is_sortable(sql: Iterable[str]) -> bool:
    """Return whether a recorded order names nothing but fields we sort by."""
    _, _, order = " ".join(sql).partition("ORDER BY ")
    parts = order.partition(" LIMIT ")[0].split(", ")
    known = {f"r.{field} {way}" for field in SORTABLE for way in ("ASC", "DESC")}
    return known.issuperset(parts)
