"""Profiles: laid over a workflow's settings, kept with the run, weighed and compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from project.env import ROOT
from tests.support.agent_rows import KEY, make_agent
from tests.support.factories import make_decision, make_document, make_run
from tests.support.openai_server import Answer, ModelServer
from tests.support.workers import ended, reaches, working
from workflows.agents import profile_stats, profiles
from workflows.agents.lookup import find_service
from workflows.agents.run_keys import RunKey
from workflows.engine import State, Workflow, approval, node
from workflows.errors import AgentUnavailable, InvalidParams
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall, CallStatus, Profile, Run, Status
from workflows.registry import Registry, registry
from workflows.runtime import ChosenProfile, NotFound, PromptProfile, Runtime
from workflows.runtime.profiles import as_json, merge_prompts
from workflows.system import System, system

TABLES = json.loads((ROOT / "tests" / "golden" / "tables.json").read_text())["tables"]
SignIn = Callable[[User], Client]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


# Merging -----------------------------------------------------------------------------

MERGE = TABLES["profile_merge"]
DEFAULTS = {
    name: PromptProfile(prompt=prompt)
    for name, _, prompt in (one.partition(":") for one in MERGE["default"])
}


@pytest.mark.parametrize("case", MERGE["cases"], ids=lambda case: str(case["case"]))
def test_stages_are_merged_as_the_golden_table_has_it(case: dict[str, Any]) -> None:
    given = {
        one["stage_name"]: {"agent": one["agent_id"], "prompt": one["system_prompt"]}
        for one in case["override"] or []
    }
    expected = {
        one["stage_name"]: (one["agent_id"] or "", one["system_prompt"] or "")
        for one in case["stages"]
    }
    found = {
        name: (prompt.agent, prompt.prompt)
        for name, prompt in merge_prompts(DEFAULTS, given).items()
    }
    assert found == expected


AGENTS = TABLES["extract_agent_params"]


@pytest.mark.parametrize("case", AGENTS, ids=lambda case: str(case["case"]))
def test_a_prompt_uses_its_agent_before_the_agent_of_the_run(
    server: ModelServer, db: None, case: dict[str, Any]
) -> None:
    for number in (1, 2):  # two, and none of them is the default
        make_agent(server, _as_named(str(number)))
    ids = {one["case"]: _as_named(one["agent_id"]) for one in AGENTS}
    own = ids["stage_agent"] if case["case"] == "stage_agent" else ""
    chosen = _as_named(case["state"].get("agent_id", ""))
    if case["error"]:
        with pytest.raises(NotFound, match="No agent was chosen"):
            find_service(own or chosen)
    else:
        name_or_default = find_service(own or chosen).with_key(case["token"])
        assert name_or_default.agent == _as_named(case["agent_id"])
        assert name_or_default.key == (case["token"] or KEY)


def _as_named(agent_id: str) -> str:
    return str(UUID(agent_id[0] * 32)) if agent_id else ""


def test_only_the_fields_that_are_given_differ() -> None:
    below = PromptProfile("writer", "Be brief.", {"temperature": 0, "seed": 1})
    chosen = ChosenProfile({"sum": {"agent": "judge", "options": {"temperature": 1}}})
    assert chosen.prompt("sum", below) == PromptProfile(
        "judge", "Be brief.", {"temperature": 1, "seed": 1}
    )
    assert chosen.prompt("other", below) == below
    assert ChosenProfile({"sum": {"prompt": None}}).prompt("sum", below).prompt == ""
    kept = as_json({"sum": below})
    assert (
        ChosenProfile(kept).prompt("sum", PromptProfile("other", "Changed.")) == below
    )


# Choosing ----------------------------------------------------------------------------


def make_profile(name: str = "careful", **fields: Any) -> Profile:
    values = {"workflow_name": "summarize", "stages": {}}
    return Profile.objects.create(name=name, **{**values, **fields})


SUMMARIZE = registry.get("summarize")


def test_a_profile_has_to_be_the_workflows(db: None) -> None:
    make_profile("careful")
    make_profile("of others", workflow_name="reasoning")
    name, stages = profiles.choose(SUMMARIZE, "careful", uuid4())
    assert (name, set(stages)) == ("careful", {"part", "summary"})
    with pytest.raises(
        InvalidParams, match=r"no profile “of others”\. There is careful"
    ):
        profiles.choose(SUMMARIZE, "of others", uuid4())


def test_weights_distribute_the_runs_deterministically(db: None) -> None:
    make_profile("a", weight=1)
    make_profile("b", weight=3)
    make_profile("c", weight=0)
    ids = [UUID(int=number << 40) for number in range(256)]
    found = Counter(profiles.choose(SUMMARIZE, None, one)[0] for one in ids)
    assert found == {"a": 64, "b": 192}
    again = Counter(profiles.choose(SUMMARIZE, None, one)[0] for one in ids)
    assert again == found
    assert profiles.choose(SUMMARIZE, "", ids[0])[0] == ""


def test_without_weights_a_run_uses_the_settings_of_the_workflow(db: None) -> None:
    make_profile("careful", stages={"summary": {"agent": "x"}})
    name, stages = profiles.choose(SUMMARIZE, None, uuid4())
    assert (name, stages["summary"]["agent"]) == ("", "")


def test_a_launch_without_an_agent_is_refused(server: ModelServer, db: None) -> None:
    with pytest.raises(AgentUnavailable, match="no provider of agents is set up"):
        system.execute("summarize", {"text": "Hello."})
    make_agent(server)
    make_profile(stages={"summary": {"agent": "judge"}})
    with pytest.raises(
        AgentUnavailable, match="At “summary”: There is no agent “judge”"
    ):
        system.execute("summarize", {"text": "Hello."}, profile="careful")
    with pytest.raises(InvalidParams, match="no agent “judge”"):
        system.execute("summarize", {"text": "Hello.", "agent": "judge"})
    assert not Run.objects.exists()
    assert system.execute("summarize", {"text": "Hello."}).status == Status.PENDING


# A run -------------------------------------------------------------------------------


class Verdict(BaseModel):
    go_on: bool


class Asked(State):
    review: Verdict | None = None
    result: str = ""


TELLING = {"tell": PromptProfile("writer", "Be brief.", {"temperature": 0})}


@node
async def describe(state: Asked, runtime: Runtime) -> Asked:
    prompt = runtime.profiles.prompt("tell", TELLING["tell"])
    reply = await runtime.agents.chat(
        prompt.agent, prompt.messages("Well?"), **prompt.options
    )
    return state.set(result=reply.text)


wait_for_somebody = approval("Go on?", answer=Verdict, into="review")
telling = Workflow(
    "telling",
    state=Asked,
    start=wait_for_somebody,
    routes={wait_for_somebody: describe},
    prompts=TELLING,
)
ours = Registry()
ours.register(telling)
our_system = System(ours)


@pytest.mark.django_db(transaction=True)
async def test_a_run_retains_the_settings_of_its_launch(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_agent, server)
    await run_in_db(make_agent, server, "judge", model="large")
    profile = await run_in_db(
        make_profile,
        workflow_name="telling",
        stages={"tell": {"agent": "judge", "options": {"seed": 1}}},
    )
    server.script(Answer("Fine."))
    async with working(ours):
        run = await run_in_db(our_system.execute, "telling", profile="careful")
        await reaches(run.pk, Status.WAITING)
        profile.stages = {"tell": {"agent": "writer"}}
        await run_in_db(profile.save)
        await run_in_db(profile.delete)
        await run_in_db(
            our_system.respond, run.pk, {"go_on": True}, by=alice, comment="a test"
        )
        run = await ended(run.pk)
    assert run.profile_name == "careful"
    [request] = server.requests
    assert request.body["model"] == "large"
    assert request.body["messages"][0]["content"] == "Be brief."
    assert (request.body["seed"], request.body["temperature"]) == (1, 0)


# Pages -------------------------------------------------------------------------------


def test_profiles_are_compared_by_their_results(
    admin: User, sign_in: SignIn, bob: User
) -> None:
    profile = make_profile("careful", weight=3, description="Slow and sure.")
    for name, status in (
        ("careful", Status.COMPLETED),
        ("careful", Status.FAILED),
        ("", Status.COMPLETED),
        ("gone", Status.CANCELLED),
    ):
        run = make_run(workflow_name="summarize", status=status, profile_name=name)
        by = bob if status == Status.COMPLETED and name else None
        make_decision(run, "read_text", "write_summary", taken=True, decided_by=by)
        make_decision(run, "read_text", "note_parts", taken=False, index=1)
        AgentCall.objects.create(
            run=run,
            workflow_name="summarize",
            kind="chat",
            agent_name="writer",
            provider_name="Local",
            model="tiny",
            tokens_in=1_000,
            tokens_out=500,
            cost=1,
            latency_ms=10,
            status=CallStatus.COMPLETED,
        )
    own, careful, gone = profile_stats.compare("summarize", ["", "careful"])
    assert (careful.runs, careful.completed_share, careful.people_share) == (
        2,
        0.5,
        0.5,
    )
    assert careful.tokens_each == 1_500
    assert careful.cost_each == 1
    assert (own.runs, own.completed_share, own.people_share) == (1, 1, 0)
    assert gone.name == "gone"
    forks = profile_stats.outgoing_edges("summarize", ["", "careful", "nobody"])
    assert [(one.to_node, one.shares) for one in forks] == [
        ("note_parts", (0, 0, None)),
        ("write_summary", (1, 1, None)),
    ]
    page = sign_in(admin).get("/workflows/summarize/profiles/").content.decode()
    assert "Slow and sure." in page
    assert "1,500" in page
    assert "4 calls, 6,000 tokens, 4.00 USD" in " ".join(page.split())
    assert f'href="/workflows/summarize/profiles/{profile.pk}/"' in page


def test_a_profile_is_created_changed_and_deleted(
    admin: User, sign_in: SignIn, server: ModelServer
) -> None:
    make_agent(server, "judge")
    page = sign_in(admin)
    fields = {
        "name": "careful",
        "weight": "3",
        "summary.agent": "judge",
        "summary.options": '{"seed": 1}',
        "part.prompt": "Be exact.",
    }
    path = "/workflows/summarize/profiles/"
    assert page.post(f"{path}new/", fields).status_code == 302
    profile = Profile.objects.get()
    assert profile.stages == {
        "summary": {"agent": "judge", "options": {"seed": 1}},
        "part": {"prompt": "Be exact."},
    }
    shown = page.get(f"{path}{profile.pk}/").content.decode()
    assert "Be exact." in shown
    assert "You summarize texts for busy colleagues." in shown
    again = page.post(f"{path}new/", fields)
    assert "This name is already in use." in again.content.decode()
    wrong = page.post(f"{path}new/", {**fields, "name": "x", "part.options": "[1]"})
    assert wrong.status_code == 422
    assert "Enter a JSON object" in wrong.content.decode()
    assert page.get(f"/workflows/reasoning/profiles/{profile.pk}/").status_code == 404
    page.post(f"{path}{profile.pk}/delete/")
    assert not Profile.objects.exists()


def test_only_who_may_change_agents_changes_profiles(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    assert page.get("/workflows/summarize/profiles/").status_code == 200
    assert (
        page.post("/workflows/summarize/profiles/new/", {"name": "x"}).status_code
        == 403
    )


# The launch form ---------------------------------------------------------------------


@pytest.fixture
def form(alice: User, sign_in: SignIn) -> Client:
    return sign_in(alice)


def test_without_a_provider_the_form_shows_an_error_and_nothing_is_launched(
    form: Client, db: None
) -> None:
    shown = form.get("/workflows/summarize/").content.decode()
    assert "Can’t launch yet." in shown
    assert 'href="/agents/"' in shown
    answer = form.post("/workflows/summarize/", {"text": "Hello.", "length": "a page"})
    assert answer.status_code == 422
    assert "Not launched." in answer.content.decode()
    assert not Run.objects.exists()


def test_a_run_is_launched_with_a_profile_and_a_token(
    form: Client, server: ModelServer
) -> None:
    make_agent(server)
    make_profile("careful")
    shown = form.get("/workflows/summarize/").content.decode()
    assert "Can’t launch yet." not in shown
    assert "writer · tiny" in shown
    assert "Assigned by weight" not in shown
    answer = form.post(
        "/workflows/summarize/",
        {
            "text": "Hello.",
            "length": "a page",
            "launch-profile": "profile:careful",
            "launch-token": "only-for-this-run",
        },
    )
    run = Run.objects.get()
    assert answer["Location"] == f"/runs/{run.pk}/"
    assert run.profile_name == "careful"
    assert b"only-for-this-run" not in bytes(run.secrets or b"")
    assert "only-for-this-run" not in json.dumps([run.params, run.profile_stages])
    again = form.get(f"/workflows/summarize/?again={run.pk}").content.decode()
    assert 'value="profile:careful" selected' in again
    assert "only-for-this-run" not in again


def test_typed_values_are_shown_again_except_a_token(
    form: Client, server: ModelServer
) -> None:
    make_agent(server)
    answer = form.post(
        "/workflows/summarize/",
        {"text": "", "length": "a page", "launch-token": "only-for-this-run"},
    )
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "Enter either a text or a document." in shown
    assert "only-for-this-run" not in shown


def test_a_workflow_with_optional_agents_offers_token_and_profiles_and_launches_without(
    form: Client, db: None
) -> None:
    shown = form.get("/workflows/classify-document/").content.decode()
    assert "launch-token" in shown
    assert "Can’t launch yet." not in shown
    assert "/workflows/classify-document/profiles/" in shown
    document = make_document("memo.pdf").pk
    run = system.execute("classify-document", {"document": document})
    assert run.status == Status.PENDING


def test_an_agent_has_to_be_able_to_do_what_its_stage_needs(
    server: ModelServer, db: None
) -> None:
    make_agent(server, "reader", capabilities=["chat"])
    make_agent(server, "eye", capabilities=["vision"])
    document = make_document("memo.pdf").pk
    blind = {"document": document, "agent": "reader"}
    with pytest.raises(AgentUnavailable, match="“reader” lacks a capability: vision"):
        system.execute("classify-document", blind)
    with pytest.raises(AgentUnavailable, match="“eye” lacks a capability: chat"):
        system.execute("summarize", {"text": "Hello.", "agent": "eye"})
    assert not Run.objects.exists()
    run = system.execute("classify-document", {**blind, "agent": "eye"})
    assert run.status == Status.PENDING


def test_a_profile_offers_the_agents_that_can_do_what_a_stage_needs(
    admin: User, sign_in: SignIn, server: ModelServer
) -> None:
    make_agent(server, "reader", capabilities=["chat"])
    make_agent(server, "eye", capabilities=["vision"])
    address = "/workflows/classify-document/profiles/new/"
    shown = sign_in(admin).get(address).content.decode()
    assert "eye · tiny" in shown
    assert "reader · tiny" not in shown
    assert "Chosen at launch, or none" in shown


def test_resuming_requires_the_token_again_and_stores_it_encrypted(
    form: Client, server: ModelServer
) -> None:
    make_agent(server)
    run = make_run(status=Status.FAILED, workflow_name="summarize")
    Run.objects.filter(pk=run.pk).update(
        fingerprint=SUMMARIZE.fingerprint, graph=SUMMARIZE.drawn
    )
    address = f"/runs/{run.pk}/"
    assert "resume-token" in form.get(address).content.decode()
    form.post(f"{address}resume/", {"reason": "again", "token": " only-for-this-run "})
    run.refresh_from_db()
    assert run.status == Status.PENDING
    assert RunKey.decrypted(run.secrets).key == "only-for-this-run"
    assert b"only-for-this-run" not in bytes(run.secrets or b"")


def test_a_workflow_without_agents_resumes_without_a_token(form: Client) -> None:
    run = make_run(status=Status.FAILED, workflow_name="asks-nobody")
    assert "resume-token" not in form.get(f"/runs/{run.pk}/").content.decode()
