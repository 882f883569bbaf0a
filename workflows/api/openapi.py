"""The OpenAPI document: media types of errors, and an example for every body.

Examples belong to schemas: an operation gets those of the schemas that it takes and
returns, and one problem for each of its documented errors.
"""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from ninja import NinjaAPI
from pydantic.json_schema import models_json_schema

from workflows.api import problems
from workflows.api.examples import ERRORS, SCHEMAS
from workflows.api.problems import Problem
from workflows.api.schemas_live import (
    ApprovalKey,
    ApprovalListEvent,
    Closed,
    PauseListEvent,
    RunEvent,
    RunListEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ninja.openapi.schema import OpenAPISchema
    from ninja.operation import Operation

JSON: Final = "application/json"
METHODS: Final = ("get", "post", "put", "delete")
SUCCESS: Final = {
    200: "Success.",
    201: "Created.",
    202: "Accepted: it is stored and will be processed.",
    204: "Deleted.",
}


SECURITY: Final = {
    "TokenAuth": {
        "bearerFormat": "sbx_…",
        "description": "An API token; see the page API tokens.",
    },
    "SessionAuth": {
        "description": "The session of a browser; methods other than GET need the header"
        " X-CSRFToken.",
    },
}
# No operation has these as its whole response.
FURTHER_SCHEMAS: Final = (
    RunEvent,
    RunListEvent,
    ApprovalKey,
    ApprovalListEvent,
    PauseListEvent,
    Closed,
    Problem,
)
PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
TAG: Final = {"type": "string", "maxLength": 200}
IF_MATCH: Final = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "schema": TAG,
    "description": "ETag of the run: refuses the action with 412 if it has another"
    " version.",
}
IF_NONE_MATCH: Final = {
    "in": "header",
    "name": "If-None-Match",
    "required": False,
    "schema": TAG,
    "description": "ETag of the run: an unchanged run gets 304.",
}


class DocumentedApi(NinjaAPI):
    """An API with a completed OpenAPI document and stable ids of operations."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name of the function, which clients are generated from."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document; without options all callers get the same object."""
        return self._document if not options else self._build(**options)

    @cached_property
    def _document(self) -> OpenAPISchema:
        return self._build()

    def _build(self, **options: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**options)
        for _, method, operation in operations_of(document):
            title = operation["operationId"].replace("_", " ")
            operation["summary"] = title.capitalize()
            _add_common_errors(method, operation)
            _add_headers(operation)
            _complete_body(operation)
            for status, response in operation["responses"].items():
                _complete_response(int(status), response)
        document["components"]["schemas"].update(_further_schemas())
        for name, facts in SECURITY.items():
            document["components"]["securitySchemes"][name].update(facts)
        return document


def _further_schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [(kind, "serialization") for kind in FURTHER_SCHEMAS],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def operations_of(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and object of each operation of an OpenAPI document."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _add_common_errors(method: str, operation: dict[str, Any]) -> None:
    """Add malformed JSON, and a missing CSRF token of a session."""
    responses = operation["responses"]
    statuses = [400] if "requestBody" in operation else []
    statuses += [] if method == "get" else [403]
    for status in statuses:
        responses.setdefault(status, {})
    operation["responses"] = dict(sorted(responses.items()))


def _add_headers(operation: dict[str, Any]) -> None:
    """Add the headers of preconditions, which are not parameters of the functions."""
    responses = operation["responses"]
    if 412 in responses:  # noqa: PLR2004 - precondition failed
        operation["parameters"].append(IF_MATCH)
    if operation["operationId"] == "get_run":
        operation["parameters"].append(IF_NONE_MATCH)
        responses[304] = {"description": "The run has not changed."}
        operation["responses"] = dict(sorted(responses.items()))


def _complete_body(operation: dict[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    if JSON in content:
        _add_example(content[JSON])


def _complete_response(status: int, response: dict[str, Any]) -> None:
    content = response.get("content", {})
    if status < HTTPStatus.BAD_REQUEST:
        response["description"] = (
            SUCCESS.get(status, "Success.")
            if response.get("description", "OK") in {"OK", HTTPStatus(status).phrase}
            else response["description"]
        )
        if JSON in content:
            _add_example(content[JSON])
        return
    code, detail, errors = ERRORS[status]
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "errors": errors,
    }
    response["description"] = problems.MEANINGS[status]
    response["content"] = {
        problems.CONTENT_TYPE: {"schema": PROBLEM, "example": example}
    }


def _add_example(media: dict[str, Any]) -> None:
    """Add the example of the schema of a body, unless it has one."""
    schema = media.get("schema", {})
    if "allOf" in schema:  # a reference with a default
        (schema,) = schema["allOf"]
        media["schema"] = schema
    if schema.get("type") == "array" and "$ref" in schema.get("items", {}):
        media.setdefault("example", [SCHEMAS[_name(schema["items"])]])
    elif "$ref" in schema:
        media.setdefault("example", SCHEMAS[_name(schema)])
    elif schema.get("items") == {"type": "string"}:
        media.setdefault("example", SCHEMAS["labels"])


def _name(schema: Mapping[str, str]) -> str:
    return schema["$ref"].rpartition("/")[2]
