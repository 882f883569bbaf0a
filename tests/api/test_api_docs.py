"""docs/api.md: every code of an error is listed, and its examples work."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from project.env import ROOT
from tests.api.conftest import Caller
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import make_document, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.contrib.auth.models import User

TEXT = (ROOT / "docs" / "api.md").read_text()
BATCHES = (ROOT / "docs" / "batches.md").read_text()
CODE = re.compile(r"^\| `(\w+)` \| (\d+) \|", re.MULTILINE)
EXAMPLE = re.compile(r"^# (\d+): .*\n(curl .*)$", re.MULTILINE)


def kinds_of(parent: type[Exception]) -> Iterator[type[Exception]]:
    """Yield all subclasses of an error."""
    for kind in parent.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_error_has_a_documented_code() -> None:
    from workflows import errors
    from workflows.api.problems import code_of
    from workflows.engine.errors import InputInvalid, RequestError

    bases = {errors.NotFound, errors.ReasonInvalid, InputInvalid}
    known = {
        code_of(kind): str(getattr(kind, "status", ""))
        for kind in set(kinds_of(RequestError)) - bases
        if kind.__module__ == errors.__name__
    }
    documented = dict(CODE.findall(TEXT))
    assert known.items() <= documented.items()


@dataclass(slots=True)
class Request:
    """A request as its command line has it."""

    method: str = "GET"
    address: str = ""
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)


def parsed(command: str, files: Mapping[str, bytes]) -> Request:
    """Return the request that a command line of curl sends."""
    found, words = Request(), iter(shlex.split(command)[1:])
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            found.headers[name] = value
        elif word == "-X":
            found.method = next(words)
        elif word in {"-d", "--data-binary"}:
            text = next(words)
            found.method, found.body = "POST", files.get(text, text)
        elif not word.startswith("-"):
            found.address = word
    url = urlsplit(found.address)
    found.address = f"{url.path}?{url.query}"
    return found


@pytest.mark.django_db
def test_the_examples_get_the_documented_responses(
    admin: User, api_client: Caller
) -> None:
    client, examples = api_client(admin), EXAMPLE.findall(TEXT + BATCHES)
    assert len(examples) == (TEXT + BATCHES).count("\ncurl ")
    document = make_document()
    run = make_run(status="pending", params={"document": str(document.pk)})
    files = {
        "@order.pdf": many_pages(1),
        "@orders.jsonl": b'{"document": "%s"}' % str(document.pk).encode(),
    }
    values: dict[str, Any] = {"DOCUMENT": document.pk, "RUN": run.pk, "URL": ""}
    for status, command in examples:
        for name, value in values.items():
            command = command.replace(f"${name}", str(value))  # noqa: PLW2901
        request = parsed(command, files)
        del request.headers["Authorization"]
        kind = request.headers.pop("Content-Type", "application/json")
        response: Any = client.generic(
            request.method,
            request.address,
            request.body,
            content_type=kind,
            headers=request.headers,
        )
        assert response.status_code == int(status), f"{command}: {response.content}"
        if response.streaming:
            assert b"".join(response.streaming_content) is not None
