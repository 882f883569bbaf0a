"""Runs have titles made of their params, which are hidden with them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel, NaiveDatetime

from tests.support.factories import make_document, make_run
from workflows.engine import State, Workflow, node
from workflows.engine.errors import DefinitionError
from workflows.execution.run_titles import title_of
from workflows.models import Run, Status
from workflows.pages.redaction import redact
from workflows.registry import Registry
from workflows.runtime import AgentRef, DocumentRef
from workflows.system import System

pytestmark = pytest.mark.django_db


class Claim(BaseModel):
    """Params of an expense claim."""

    kind: Literal["travel", "meal"] = "travel"
    at: NaiveDatetime | None = None
    agent: AgentRef | None = None
    reference: UUID | None = None
    amount: Decimal = Decimal("12.50")
    count: int = 0
    employee: str | None = None
    receipts: list[DocumentRef] = []


class Claims(State):
    params: Claim


@node
def done(state: Claims) -> Claims:
    return state


def claims(run_title: str = "") -> Workflow[Claims]:
    return Workflow("claims", state=Claims, start=done, routes={}, run_title=run_title)


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"employee": " Ada\nLovelace ", "count": 3}, "Ada Lovelace"),
        ({"employee": "", "count": 3}, "12.50"),
        ({"employee": "x" * 500}, "x" * 119 + "…"),
    ],
)
def test_by_default_the_first_text_or_number_is_the_title(
    given: dict[str, Any], title: str
) -> None:
    run = launched(claims(), given)
    assert run.title == title


def test_documents_are_preferred_and_shown_by_name() -> None:
    first, second = make_document("taxi.pdf"), make_document("hotel.pdf")
    given = {"employee": "Ada", "receipts": [str(first.pk), str(second.pk)]}
    assert launched(claims(), given).title == "taxi.pdf, hotel.pdf"
    template = "{params.employee}: {params.receipts[1]}"
    assert launched(claims(template), given).title == "Ada: hotel.pdf"


def test_a_deleted_document_has_no_name_in_a_title() -> None:
    params = {"receipts": [str(uuid4()), "no id"], "employee": None, "amount": None}
    assert title_of(claims(), params) == ""


def test_a_title_names_only_params_that_exist() -> None:
    with pytest.raises(DefinitionError, match=r"params\.emplyee"):
        claims("{params.emplyee}")


def test_a_title_is_searched_in_runs_whose_data_may_be_read(
    admin_client: Client,
) -> None:
    run = make_run(title="Ada, 12 EUR", status=Status.COMPLETED)
    other = make_run(title="Bob, 3 EUR", status=Status.COMPLETED)
    page = admin_client.get("/runs/", {"title": "ada"}).content.decode()
    assert (str(run.pk) in page, str(other.pk) in page) == (True, False)
    assert "Ada, 12 EUR" in admin_client.get(f"/runs/{run.pk}/").content.decode()


def test_a_redacted_run_has_no_title(admin: User) -> None:
    run = make_run(title="Ada, 12 EUR")
    assert redact(Run.objects.get(pk=run.pk)).title == ""


def launched(workflow: Workflow[Claims], params: dict[str, Any]) -> Run:
    registry = Registry()
    registry.register(workflow)
    run = System(registry).execute("claims", params)
    return Run.objects.get(pk=run.pk)
