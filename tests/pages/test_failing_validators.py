"""A validator of params that raises any exception is an error of its field, never a 500."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel, field_validator, model_validator

from workflows.engine import State, Workflow, node
from workflows.models import Run
from workflows.registry import registry

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
Install = Callable[[type[BaseModel]], str]


class Unexpected(BaseException):
    """An exception that `except Exception` does not catch."""


RAISED = [
    TypeError("not today"),
    KeyError("missing"),
    ZeroDivisionError(),
    RuntimeError("line one\nline two"),
    OSError(5, "disk"),
    RecursionError("deep"),
    StopIteration("end"),
    MemoryError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    Unexpected("inner"),
]


@pytest.fixture
def install() -> Iterator[Install]:
    """Register a workflow with a params model; return its name."""
    names = []

    def register(params: type[BaseModel]) -> str:
        @node
        def only(state: State) -> State:
            return state

        flow = Workflow("failing", state=State, params=params, start=only, routes={})
        registry.register(flow)
        names.append(flow.name)
        return flow.name

    yield register
    for name in names:
        registry.unregister(name)


def failing_field(error: BaseException) -> type[BaseModel]:
    class Params(BaseModel):
        other: int = 1
        amount: int

        @field_validator("amount")
        @classmethod
        def check(cls, _value: int) -> int:
            raise error

    return Params


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_the_launch_form_names_field_and_exception(
    error: BaseException, install: Install, sign_in: SignIn, alice: User
) -> None:
    name = install(failing_field(error))
    page = sign_in(alice)
    response = page.post(
        reverse("workflow", args=[name]), {"amount": "7", "other": "1"}
    )
    assert response.status_code == 422
    form = response.context["form"]
    assert list(form.errors) == ["amount"]
    assert type(error).__name__ in str(form.errors["amount"])
    assert form["amount"].value() == "7"
    assert not Run.objects.exists()


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_the_command_names_field_and_exception(
    error: BaseException, install: Install
) -> None:
    name = install(failing_field(error))
    stderr = StringIO()
    with pytest.raises(SystemExit) as exit_info:
        call_command("run_workflow", name, "--param=amount=7", stderr=stderr)
    assert exit_info.value.code == 2
    assert "amount" in stderr.getvalue()
    assert type(error).__name__ in stderr.getvalue()
    assert not Run.objects.exists()


class Before(BaseModel):
    amount: int = 1

    @model_validator(mode="before")
    @classmethod
    def check(cls, _value: Any) -> Any:
        raise SystemExit(3)


class After(BaseModel):
    amount: int = 1

    @model_validator(mode="after")
    def check(self) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize("model", [Before, After])
def test_an_exception_of_a_model_validator_is_an_error_of_the_form(
    model: type[BaseModel], install: Install, sign_in: SignIn, alice: User
) -> None:
    page = sign_in(alice)
    response = page.post(reverse("workflow", args=[install(model)]), {"amount": "7"})
    assert response.status_code == 422
    assert "SystemExit: 3" in str(response.context["form"].errors)
    assert not Run.objects.exists()


def test_of_two_failing_fields_one_is_named(
    install: Install, sign_in: SignIn, alice: User
) -> None:
    class Params(BaseModel):
        first: int
        second: int

        @field_validator("*")
        @classmethod
        def check(cls, _value: int) -> int:
            raise LookupError("no")

    name = install(Params)
    page = sign_in(alice)
    sent = {"first": "7", "second": "8"}
    response = page.post(reverse("workflow", args=[name]), sent)
    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["first"]
