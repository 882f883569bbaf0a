"""The first steps of a new installation, and the default access."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from project.env import ROOT
from tests.support.factories import make_document, make_role, make_run, make_user
from workflows.access import permissions, roles
from workflows.engine import State, Workflow, node
from workflows.engine.testing import run_in_memory
from workflows.models import Agent, AuditEvent, DefaultAccess, Provider, Run
from workflows.registry import registry
from workflows.samples import samples
from workflows.services import first_steps

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HEADING = "Getting started</h2>"


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return a client of an administrator."""
    return sign_in(admin)


def text_of(page: Client, path: str = "/") -> str:
    return page.get(path).content.decode()


def names(person: User) -> list[str]:
    return [step.name for step in first_steps.of_person(person).steps]


def done(person: User) -> set[str]:
    return {step.name for step in first_steps.of_person(person).steps if step.is_done}


def connect_model() -> None:
    provider = Provider.objects.create(name="Ours", base_url="http://localhost:1/v1")
    Agent.objects.create(name="writer", provider=provider, model="small")


def test_a_new_installation_shows_what_to_do_first(page: Client, admin: User) -> None:
    assert HEADING in text_of(page)
    assert "0 of 5 done" in text_of(page)
    assert names(admin) == ["sample", "model", "own", "people", "access"]


def test_a_member_gets_only_the_steps_that_a_member_can_do(
    alice: User, sign_in: SignIn
) -> None:
    assert names(alice) == ["sample"]
    assert "Connect a model" not in text_of(sign_in(alice))


def test_one_button_launches_the_sample_once(page: Client, admin: User) -> None:
    sample = make_document(first_steps.SAMPLE_DOCUMENT, uploaded_by=admin)
    once = re.search(r'name="launch-once" value="([^"]+)"', text_of(page))
    assert once
    for _ in range(2):
        answer = page.post("/first-steps/sample/", {"launch-once": once[1]})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/runs/{run.pk}/"
    assert run.params["document"] == str(sample.pk)
    assert run.launched_by == admin
    assert "sample" in done(admin)


def test_the_sample_is_one_of_those_of_the_first_start() -> None:
    sample = next(one for one in samples() if one.name == first_steps.SAMPLE_DOCUMENT)
    assert "without an approval" in sample.about


def test_without_the_sample_the_step_links_to_the_launch_form(page: Client) -> None:
    assert 'href="/workflows/classify-document/#launch"' in text_of(page)
    assert page.post("/first-steps/sample/").status_code == 404


def test_a_step_is_done_once_its_result_exists(admin: User) -> None:
    assert done(admin) == set()
    connect_model()
    assert done(admin) == {"model"}
    make_user("olga")
    assert done(admin) == {"model", "people"}
    workflow = registry.register(_own())
    try:
        assert done(admin) == {"model", "people", "own"}
    finally:
        registry.unregister(workflow.name)


def _own() -> Workflow[Any]:
    @node
    def only(state: State) -> State:
        return state

    return Workflow("own-one", state=State, start=only, routes={})


def test_hidden_steps_stay_on_their_own_page(page: Client) -> None:
    page.post("/first-steps/hide/")
    page.post("/first-steps/hide/")
    assert HEADING not in text_of(page)
    assert "Run a sample" in text_of(page, "/first-steps/")


def test_home_shows_no_steps_when_all_are_done(alice: User, sign_in: SignIn) -> None:
    make_run()
    assert HEADING not in text_of(sign_in(alice))


def test_workflows_that_need_a_model_are_marked_until_one_is_connected(
    page: Client, alice: User, sign_in: SignIn
) -> None:
    marked = '<a class="tag" data-tone="warn" href="/agents/connect/">Needs a model'
    assert text_of(page).count("Needs a model") == 2
    assert marked in text_of(page, "/workflows/")
    assert marked not in text_of(sign_in(alice), "/workflows/")
    assert "Needs a model" in text_of(sign_in(alice), "/workflows/")
    connect_model()
    assert "Needs a model" not in text_of(page) + text_of(page, "/workflows/")


def test_the_workflow_on_the_page_runs() -> None:
    template = ROOT / "templates" / "first_steps" / "_own_workflow.html"
    code = re.search(r"<code>(import.*?)</code>", template.read_text(), re.DOTALL)
    assert code
    scope: dict[str, Any] = {}
    exec(html.unescape(code[1]), scope)  # noqa: S102 - our own code
    assert run_in_memory(scope["luck"]).status == "completed"


# Default access ----------------------------------------------------------------------


def test_closing_takes_effect_at_once_and_is_audited(
    page: Client, admin: User, alice: User
) -> None:
    assert permissions.can_launch(alice, "classify-document")
    answer = page.post("/accounts/access/", {"mode": "closed"})
    assert answer.status_code == 302
    fresh = User.objects.get(pk=alice.pk)
    assert not permissions.can_launch(fresh, "classify-document")
    assert "access" in done(admin)
    event = AuditEvent.objects.get(action="change default access")
    assert (event.actor_name, event.reason) == ("admin", "closed")
    assert event.after is not None
    assert event.after["mode"] == "closed"
    page.post("/accounts/access/", {"mode": "open"})
    assert DefaultAccess.objects.get().mode == "open"
    assert permissions.can_launch(User.objects.get(pk=alice.pk), "classify-document")


def test_closed_is_suggested_once_a_second_person_has_an_account(page: Client) -> None:
    checked = r'value="closed"[^>]*checked'
    assert not re.search(checked, text_of(page, "/accounts/access/"))
    make_user("olga")
    assert re.search(checked, text_of(page, "/accounts/access/"))
    assert "closed permissions are recommended" in text_of(page)


def test_the_setting_of_the_server_has_precedence(
    page: Client, settings: Settings
) -> None:
    page.post("/accounts/access/", {"mode": "open"})
    settings.DEFAULT_ACCESS = "closed"
    assert not permissions.are_open()
    assert "Closed by the server." in text_of(page, "/accounts/access/")
    assert page.post("/accounts/access/", {"mode": "open"}).status_code == 403


def test_only_administrators_choose_the_access(sign_in: SignIn) -> None:
    operator = make_user("oscar")
    operator.groups.add(make_role(roles.OPERATOR))
    client = sign_in(operator)
    assert client.get("/accounts/access/").status_code == 403
    assert client.post("/accounts/access/", {"mode": "closed"}).status_code == 403
    assert not DefaultAccess.objects.exists()


def test_an_unknown_mode_is_refused(page: Client) -> None:
    assert page.post("/accounts/access/", {"mode": "ajar"}).status_code == 422
    assert not DefaultAccess.objects.exists()
