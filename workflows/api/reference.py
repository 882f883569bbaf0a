"""The reference of the API as a page, from its OpenAPI document: no scripts needed."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from workflows.api.application import api
from workflows.api.openapi import JSON, operations_of
from workflows.pages.access import members_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.http import HttpResponse
    from django.utils.safestring import SafeString

    from workflows.pages.requests import HtmxRequest

MULTIPART: Final = "multipart/form-data"
FIRST_ERROR: Final = 400


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body."""

    name: str
    type: str
    description: str
    is_required: bool
    place: str = ""  # query, path, header; "" for a field


@dataclass(frozen=True, slots=True)
class Reply:
    """A documented response."""

    status: int
    description: str
    types: tuple[str, ...]
    example: str


@dataclass(slots=True)
class Entry:
    """An operation."""

    id: str
    method: str
    path: str
    title: str
    description: str
    parameters: list[Field]
    body_types: list[str]
    body: list[Field]
    curl: str
    replies: list[Reply] = field(default_factory=list)
    errors: list[Reply] = field(default_factory=list)


@require_safe
@members_only
def reference(request: HtmxRequest) -> HttpResponse:
    """Show the operations of the API by tag."""
    address = request.build_absolute_uri("/").rstrip("/")
    context = {"operations": rendered_operations(address), "address": address}
    return render(request, "api/reference.html", context)


@lru_cache(maxsize=4)  # the server may have a few addresses
def rendered_operations(address: str) -> SafeString:
    """Return the part of the page that is the same for everyone."""
    return render_to_string("api/_operations.html", {"groups": _groups(address)})


def _groups(address: str) -> dict[str, list[Entry]]:
    """Return the operations by tag, in the order of the document."""
    groups: dict[str, list[Entry]] = {}
    for path, method, operation in operations_of(api.get_openapi_schema()):
        tag = operation["tags"][0].capitalize()
        groups.setdefault(tag, []).append(_entry(path, method, operation, address))
    return groups


def _entry(path: str, method: str, operation: dict[str, Any], address: str) -> Entry:
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get(JSON, {}).get("schema", {})
    found = Entry(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        title=operation["summary"],
        description=operation.get("description", ""),
        parameters=[_parameter(one) for one in operation["parameters"]],
        body_types=list(content),
        body=list(_fields(schema)),
        curl=_curl(path, method, operation, address),
    )
    for status, response in operation["responses"].items():
        reply = _reply(int(status), response)
        group = found.replies if reply.status < FIRST_ERROR else found.errors
        group.append(reply)
    return found


def _parameter(one: dict[str, Any]) -> Field:
    schema = one["schema"]
    text = one.get("description") or schema.get("description", "")
    return Field(
        one["name"], type_of(schema), text, one.get("required", False), one["in"]
    )


def _fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    resolved = _resolved(schema)
    required = resolved.get("required", ())
    for name, one in resolved.get("properties", {}).items():
        text = one.get("description", "")
        yield Field(name, type_of(one), text, name in required)


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = (
        api.get_openapi_schema()["components"]["schemas"][name] if name else schema
    )
    return found


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema in words."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found = _resolved(schema)
    if "anyOf" in found:
        return " or ".join(type_of(one) for one in found["anyOf"])
    if "enum" in found:
        return ", ".join(json.dumps(one) for one in found["enum"])
    if found.get("type") == "array":
        return f"list of {type_of(found.get('items', {}))}"
    return str(name or found.get("format") or found.get("type") or "any")


def _reply(status: int, response: Mapping[str, Any]) -> Reply:
    content = response.get("content", {})
    examples = [one["example"] for one in content.values() if "example" in one]
    example = json.dumps(examples[0], indent=2, ensure_ascii=False) if examples else ""
    return Reply(status, response.get("description", ""), tuple(content), example)


def _curl(path: str, method: str, operation: dict[str, Any], address: str) -> str:
    """Return an example as a command line."""
    parts = ['curl -H "Authorization: Bearer $TOKEN"']
    if method != "get":
        parts.append(f"-X {method.upper()}")
    content = operation.get("requestBody", {}).get("content", {})
    if JSON in content:
        body = json.dumps(content[JSON].get("example", {}), ensure_ascii=False)
        parts.append(f'-H "Content-Type: {JSON}" -d {shlex.quote(body)}')
    elif MULTIPART in content:
        parts.append("-F file=@order.pdf")
    required = [
        f"{one['name']}=…"
        for one in operation["parameters"]
        if one["in"] == "query" and one.get("required")
    ]
    query = f"?{'&'.join(required)}" if required else ""
    parts.append(f'"{address}{path}{query}"')
    return " ".join(parts)
