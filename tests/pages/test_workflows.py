"""The pages of workflows: the catalog, and a workflow with its launch form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from pydantic import BaseModel, Field

from tests.pages.test_forms import ONE_PAGE
from tests.support.factories import make_run
from workflows.engine import State, Workflow, node
from workflows.engine.errors import DefinitionError
from workflows.models import Document, Run, Status
from workflows.registry import Registry, registry

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
ADDRESS = "/workflows/say-hello/"


class Params(BaseModel):
    """Params of the workflow."""

    name: str = Field(title="Whom to greet")
    times: int = Field(1, ge=1, le=9, description="How often.")
    odd: int = Field(1, title="An odd number")

    def model_post_init(self, _context: Any) -> None:
        """Reject an even number, which a form field does not check."""
        if self.odd % 2 == 0:
            raise ValueError("must be odd")


class Greeting(State):
    """State of the workflow."""

    params: Params


@node
def greet(state: Greeting, _runtime: object) -> Greeting:
    """Return a greeting."""
    return state


@pytest.fixture(autouse=True)
def first_step() -> Iterator[None]:
    """Register a workflow."""
    registry.register(
        Workflow(
            "say-hello",
            state=Greeting,
            start=greet,
            routes={},
            title="Say <hello>",
            description="Greets & goes.",
        )
    )
    yield
    registry.unregister("say-hello")


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def test_the_catalog_shows_each_workflow_with_its_graph_and_last_runs(
    page: Client,
) -> None:
    make_run(workflow_name="say-hello", status=Status.FAILED)
    text = page.get("/workflows/").content.decode()
    assert "Say &lt;hello&gt;" in text
    assert "Greets &amp; goes." in text
    assert 'aria-label="Graph of say-hello"' in text
    assert 'data-status="failed"' in text
    assert "Classify a document" in text


def test_a_workflow_shows_its_graph_and_form_before_any_run(page: Client) -> None:
    text = page.get(ADDRESS).content.decode()
    assert 'class="node-title"' in text
    assert "Greet" in text
    assert "Whom to greet" in text
    assert "How often." in text
    assert "No runs yet." in text


def test_launching_queues_a_run_with_the_params_and_redirects_to_it(
    page: Client, alice: User
) -> None:
    answer = page.post(ADDRESS, {"name": "Ada", "times": "3", "odd": "1"})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/runs/{run.pk}/"
    assert run.params == {"name": "Ada", "times": 3, "odd": 1}
    assert run.launched_by == alice
    assert run.status == Status.PENDING


@pytest.mark.parametrize(
    ("given", "expected_text"),
    [
        ({"name": "", "times": "3", "odd": "1"}, "This field is required."),
        ({"name": "Ada", "times": "10", "odd": "1"}, "less than or equal to 9"),
        ({"name": "Ada", "times": "3", "odd": "2"}, "must be odd"),
    ],
)
def test_invalid_input_is_reported_and_nothing_is_queued(
    page: Client, given: dict[str, str], expected_text: str
) -> None:
    answer = page.post(ADDRESS, given)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert expected_text in text
    assert 'role="alert"' in text
    assert f'value="{given["times"]}"' in text
    assert not Run.objects.exists()


def test_priority_and_idempotency_key_are_optional(page: Client) -> None:
    more = {"launch-priority": "7", "launch-key": "order-117"}
    first = page.post(ADDRESS, {"name": "Ada", **more})
    run = Run.objects.get()
    assert (run.priority, run.idempotency_key) == (7, "order-117")
    again = page.post(ADDRESS, {"name": "Ada", **more}, follow=True)
    assert again.redirect_chain[0][0] == first.headers["Location"]
    assert "with this idempotency key before." in again.content.decode()
    other = page.post(ADDRESS, {"name": "Grace", **more})
    assert other.status_code == 422
    error = other.content.decode().split('id="launch-key_error"')[1]
    assert run.short_id in error.split("</ul>")[0]
    page.post(ADDRESS, {"name": "Ada", "launch-priority": "101"})
    assert Run.objects.count() == 1


def test_the_command_sets_priority_and_idempotency_key(page: Client) -> None:
    params = ["--param", "name=Ada"]
    for _ in range(2):
        options = ["--priority", "-3", "--key", "order-117"]
        call_command("run_workflow", "say-hello", *params, *options)
    run = Run.objects.get()
    assert (run.priority, run.idempotency_key) == (-3, "order-117")
    with pytest.raises(SystemExit):
        call_command("run_workflow", "say-hello", *params, "--key", "x" * 201)


def test_a_run_fills_the_form_again(page: Client) -> None:
    run = make_run(workflow_name="say-hello", params={"name": "Bo", "times": 4})
    text = page.get(ADDRESS, {"again": str(run.pk)}).content.decode()
    assert 'value="Bo"' in text
    assert 'value="4"' in text


def test_an_upload_launches_the_classifier_with_it(page: Client) -> None:
    answer = page.post(
        "/workflows/classify-document/",
        {
            "threshold": "0.8",
            "document:file": SimpleUploadedFile("mine.pdf", ONE_PAGE),
        },
    )
    assert answer.status_code == 302
    assert Run.objects.get().params["document"] == str(Document.objects.get().pk)


def test_a_workflow_without_typed_params_accepts_json(page: Client) -> None:
    def factory(graph: Any, _runtime: object, _params: object) -> State:
        graph.add_node("greet", lambda state: state)
        graph.set_entry_point("greet")
        graph.set_exit_point("greet")
        return State()

    registry.register_factory("free", factory)
    try:
        assert "JSON." in page.get("/workflows/free/").content.decode()
        refused = page.post("/workflows/free/", {"params": "[1]"})
        assert "Enter a JSON object" in refused.content.decode()
        assert page.post("/workflows/free/", {"params": '{"a": 1}'}).status_code == 302
        assert Run.objects.get().params == {"a": 1}
    finally:
        registry.unregister("free")


def test_the_page_of_an_unknown_workflow_lists_the_registered_ones(
    page: Client,
) -> None:
    answer = page.get("/workflows/nothing/")
    assert answer.status_code == 404
    text = answer.content.decode()
    assert "Workflow “nothing” not found." in text
    assert "say-hello" in text


def never(*_: Any) -> State:
    """Fail if called."""
    raise AssertionError


@pytest.mark.parametrize("name", ["a/b", "", "..", "a\x00", "a\n", "-", "a" * 101])
def test_a_name_that_is_invalid_in_an_address_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="cannot be called"):
        Registry().register_factory(name, never)


@pytest.mark.parametrize("name", ["classify-document", "Größe 2", "a" * 100])
def test_any_other_name_is_accepted(name: str) -> None:
    registry = Registry()
    registry.register_factory(name, never)
    assert registry.get(name).name == name
