"""Requests of the API: the acting user, and preconditions by the version of a run."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags

from workflows.access import permissions
from workflows.errors import VersionChanged
from workflows.pages.redaction import redact
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User
    from ninja import Schema

    from workflows.models import Run

VERSION: Final = re.compile(r'^(?:W/)?"(\d+)(?:-[0-9a-f]+)?"$')


def errors(*statuses: int) -> dict[Any, Any]:
    """Return these documented errors, and those that every operation may have.

    None has a schema here: ninja would build a model for each status of each operation,
    which takes a fifth of the CPU time to start a process. `openapi.py` adds Problem.
    """
    return dict.fromkeys(sorted({401, 422, 429, 503, *statuses}))


def binary(*types: str, partial: bool = False) -> dict[str, Any]:
    """Return the documentation of a response that is a file of one of these types."""
    content = {one: {"schema": {"type": "string", "format": "binary"}} for one in types}
    responses: dict[int, Any] = {200: {"description": "The file.", "content": content}}
    if partial:
        responses[206] = {"description": "A range of the file.", "content": content}
    return {"responses": responses}


class ApiRequest(HttpRequest):
    """The request of an authenticated user."""

    user: User


def visible_run(request: ApiRequest, run_id: UUID) -> Run:
    """Return a run that the user may see, redacted if they may not read its data.

    Raises RunNotFound. A redacted run must not be saved.
    """
    return visible_run_of(request.user, run_id)


def visible_run_of(user: User, run_id: UUID) -> Run:
    """Return a run as `visible_run` does, without a request."""
    run = system.find_run(run_id, by=user)
    can_read = permissions.can_read(user, run.workflow_name)
    return run if can_read else redact(run)


def readable_run(request: ApiRequest, run_id: UUID) -> Run:
    """Return a run whose data the user may read. Raises RunNotFound, NotAllowed."""
    run = system.find_run(run_id, by=request.user)
    permissions.require(
        permissions.can_read(request.user, run.workflow_name),
        "view the data of this run",
    )
    return run


def require_version(request: ApiRequest, run_id: UUID) -> None:
    """Compare If-Match with the version of a run. Raises RunNotFound, VersionChanged.

    The action that follows is a conditional update: the check only tells a client that
    it has seen an older version.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header or header == "*":
        return
    run = system.find_run(run_id, by=request.user)
    found = (VERSION.match(tag) for tag in parse_etags(header))
    if run.version not in {int(tag[1]) for tag in found if tag}:
        raise VersionChanged(run)


def with_etag(request: HttpRequest, body: Schema, version: int) -> HttpResponse:
    """Return a response whose ETag begins with the version, or 304 if it is unchanged.

    The digest covers what does not raise the version: labels, pins, permissions.
    """
    text = body.model_dump_json().encode()
    etag = f'"{version}-{sha256(text).hexdigest()[:8]}"'
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if etag in {tag.removeprefix("W/") for tag in known}:
        response: HttpResponse = HttpResponseNotModified()
    else:
        response = HttpResponse(text, content_type="application/json")
    response["ETag"] = etag
    return response
