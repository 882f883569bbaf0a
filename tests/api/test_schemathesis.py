"""Requests generated from the OpenAPI document get documented responses, never a 5xx.

`make test` sends a few to each operation, `make test-all` many, on both databases.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.test.client import ClientHandler
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from tests.support.api_requests import operations
from tests.support.permission_fixtures import OURS, World, make_world
from workflows.access import tokens
from workflows.api.application import api

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from schemathesis.specs.openapi.schemas import OpenApiSchema

CONFORMANCE = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
HANDLER = ClientHandler(enforce_csrf_checks=False)  # leaves the connection open
EXAMPLES, THOROUGH_EXAMPLES = 3, 300
OPERATIONS = [name for _, _, name in operations()]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Serve a request on the connection of the test."""
    response: Any = HANDLER(environ)
    content = (
        b"".join(response.streaming_content) if response.streaming else response.content
    )
    status = f"{response.status_code} {response.reason_phrase}"
    start_response(status, list(response.items()))
    return [content]


@cache
def schema() -> OpenApiSchema:
    """Return the API's document; only the processes that execute these tests build it."""
    import schemathesis

    document = json.loads(to_json(api.get_openapi_schema()))
    found = schemathesis.openapi.from_dict(document)
    found.app = application
    return found


@pytest.fixture
def secret(admin: User, settings: Any) -> str:
    """The secret of a token of a superuser; requests are not limited."""
    settings.RATES = dict.fromkeys(settings.RATES, 0)
    return tokens.create(admin, "tests", by=admin, scopes=["admin"])[1]


def assert_conforms(name: str, secret: str, examples: int) -> None:
    """Send generated requests to an operation, also with ids of rows that exist."""
    from schemathesis import GenerationMode
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    checks = CHECKS.get_by_names(CONFORMANCE)
    operation, world = schema().find_operation_by_id(name), make_world()
    cases = st.one_of(
        *(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    )

    @given(case=cases, exists=st.booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any, exists: bool) -> None:
        if exists:
            fill(case, world)
        with transaction.atomic():
            response = case.call(headers={"Authorization": f"Bearer {secret}"})
            transaction.set_rollback(True)
        case.validate_response(response, checks=checks)

    send()


def fill(case: Any, world: World) -> None:
    """Put the ids of rows into the path of a request."""
    known = {
        "run_id": world.run.pk,
        "name": OURS,
        "document_id": world.document.pk,
        "file_id": world.file.pk,
        "job_id": world.job.pk,
        "schedule_id": world.schedule.pk,
        "view_id": world.view.pk,
        "webhook_id": world.delivery.endpoint_id,
        "destination_id": world.message.destination_id,
        "delivery": world.message.pk,
        "webhook_delivery_id": world.delivery.pk,
        "subscription_id": world.subscription.pk,
        "alert_id": world.incident.rule_id,
        "variable": "host",
    }
    parameters = case.path_parameters
    if isinstance(parameters, dict):
        parameters.update({key: str(known[key]) for key in parameters if key in known})


@pytest.mark.django_db
@pytest.mark.parametrize("name", OPERATIONS)
def test_responses_conform_to_the_document(secret: str, name: str) -> None:
    assert_conforms(name, secret, EXAMPLES)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.django_db
@pytest.mark.parametrize("name", OPERATIONS)
def test_many_responses_conform_to_the_document(secret: str, name: str) -> None:
    assert_conforms(name, secret, THOROUGH_EXAMPLES)


@pytest.mark.django_db
def test_undocumented_methods_are_refused(secret: str, client: Any) -> None:
    known: dict[str, set[str]] = {}
    for method, address, _ in operations():
        known.setdefault(address, set()).add(method)
    example = "01a22a39-d234-73d3-afc1-8e9ae7b59950"
    for address, methods in known.items():
        path = "/api/v1/" + address.replace("<view_id>", "1")
        path = re.sub(r"<(?!sequence|number|name|variable)\w+>", example, path)
        path = path.replace("<sequence>", "1").replace("<number>", "1")
        for method in METHODS - methods:
            response = client.generic(
                method, path, headers={"Authorization": f"Bearer {secret}"}
            )
            assert response.status_code == 405, f"{method} {path}"
            assert set(response["Allow"].split(", ")) >= methods
            assert response["Content-Type"] == "application/problem+json"
