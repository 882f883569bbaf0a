"""People assess runs and decisions; accuracy and promotion of profiles follow from it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.support.factories import make_decision, make_run
from tests.support.responses import text_of
from workflows.errors import (
    InvalidParams,
    InvalidStatus,
    NotAllowed,
    ReasonMissing,
    StepNotFound,
)
from workflows.models import (
    Assessment,
    AuditEvent,
    GoldenResult,
    Profile,
    Run,
    Status,
    WorkflowPermission,
)
from workflows.services.assessments import Accuracy, accuracy_of
from workflows.services.golden_runs import Expectation
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
NAME = "classify-document"


def test_a_changed_assessment_keeps_both_in_the_audit_log(
    alice: User, bob: User
) -> None:
    run = make_run()
    make_decision(run, "weigh", "publish", sequence=3)
    system.assess(run.pk, True, by=alice)
    system.assess(run.pk, True, step=3, by=alice)
    system.assess(run.pk, False, step=3, note="An offer.", by=bob)
    whole, edge = Assessment.objects.all()
    assert (whole.sequence, whole.is_right, whole.person_name) == (0, True, "alice")
    assert (edge.from_node, edge.to_node, edge.note) == (
        "weigh",
        "publish",
        "An offer.",
    )
    assert (edge.is_right, edge.person_name) == (False, "bob")
    last = AuditEvent.objects.latest("pk")
    assert (last.action, last.actor_name) == ("assess", "bob")
    assert last.before == {"step": 3, "right": True, "note": ""}
    assert last.after == {"step": 3, "right": False, "note": "An offer."}
    system.assess(run.pk, None, step=3, by=alice)
    assert Assessment.objects.count() == 1


def test_what_cannot_be_assessed_is_refused(alice: User) -> None:
    run = make_run()
    with pytest.raises(StepNotFound):
        system.assess(run.pk, True, step=9, by=alice)
    with pytest.raises(InvalidParams):
        system.assess(run.pk, True, note="x" * 2001, by=alice)
    with pytest.raises(InvalidStatus):
        system.assess(make_run(status=Status.RUNNING).pk, True, by=alice)
    group = Group.objects.create(name="others")
    WorkflowPermission.objects.create(workflow_name=NAME, can_view=True, group=None)
    WorkflowPermission.objects.create(workflow_name=NAME, can_launch=True, group=group)
    with pytest.raises(NotAllowed):
        system.assess(run.pk, True, by=User.objects.get(pk=alice.pk))
    assert not Assessment.objects.exists()


def assessed(*verdicts: bool, profile: str = "") -> None:
    for is_right in verdicts:
        run = make_run(profile_name=profile)
        make_decision(run, "weigh", "publish" if is_right else "reject", sequence=1)
        system.assess(run.pk, is_right, by=None)
        system.assess(run.pk, is_right, step=1, by=None)


def test_accuracy_is_counted_by_edge_profile_and_month() -> None:
    assessed(True, True, False)
    assessed(False, profile="quick")
    found = accuracy_of(NAME)
    assert (found.runs.right, found.runs.wrong, found.runs.share) == (2, 2, 0.5)
    assert found.edges == [
        Accuracy("weigh → publish", 2, 0),
        Accuracy("weigh → reject", 0, 2),
    ]
    assert found.profiles == [Accuracy("", 2, 1), Accuracy("quick", 0, 1)]
    month = f"{Run.objects.latest('pk').created_at:%Y-%m}"
    assert [one.name for one in found.months] == [month]
    assert not accuracy_of("other").is_known


def test_a_promoted_profile_gets_all_launches_without_one(admin: User) -> None:
    for name, weight in (("quick", 1), ("slow", 3)):
        Profile.objects.create(workflow_name=NAME, name=name, weight=weight, stages={})
    with pytest.raises(ReasonMissing):
        system.promote_profile(NAME, "quick", by=admin)
    system.promote_profile(NAME, "quick", by=admin, reason="More accurate.")
    assert dict(Profile.objects.values_list("name", "weight")) == {
        "quick": 100,
        "slow": 0,
    }
    event = AuditEvent.objects.latest("pk")
    assert event.reason == f"{NAME}: quick: More accurate."
    assert event.before == {"weights": {"quick": 1, "slow": 3}}
    system.promote_profile(NAME, "", by=admin, reason="Back.")
    assert not Profile.objects.exclude(weight=0).exists()
    with pytest.raises(InvalidParams):
        system.promote_profile(NAME, "other", by=admin, reason="x")


def test_only_people_who_manage_agents_promote_profiles(alice: User) -> None:
    with pytest.raises(NotAllowed):
        system.promote_profile(NAME, "", by=alice, reason="x")


# Pages ----------------------------------------------------------------------------------


def test_a_run_and_a_decision_are_assessed_on_a_page(
    alice: User, sign_in: SignIn
) -> None:
    client, run = sign_in(alice), make_run()
    make_decision(run, "weigh", "publish", sequence=3)
    page = text_of(client.get(f"/runs/{run.pk}/"))
    address = f"/runs/{run.pk}/assess/"
    assert f'href="{address}"' in page
    assert "Assess the decision" in text_of(client.get(f"{address}?step=3"))
    refused = client.post(address, {"note": "My note"})
    assert refused.status_code == 422
    assert "My note" in text_of(refused)
    sent = {"verdict": "wrong", "note": "An offer."}
    assert client.post(f"{address}?step=3", sent).status_code == 302
    assert Assessment.objects.get().sequence == 3
    assert "wrong by alice" in text_of(client.get(f"/runs/{run.pk}/"))
    shown = text_of(client.get(f"/decisions/?workflow={NAME}"))
    assert "Accuracy" in shown


def test_a_decision_is_assessed_from_the_list_of_decisions(
    alice: User, sign_in: SignIn
) -> None:
    client, run, active = sign_in(alice), make_run(), make_run(status=Status.RUNNING)
    make_decision(run, "weigh", "publish", sequence=3)
    make_decision(active, "weigh", "publish", sequence=2)
    listed = f"/decisions/?{urlencode({'workflow': NAME, 'when': '7d'})}"
    page = text_of(client.get(listed))
    query = "list=workflow%3Dclassify-document%26when%3D7d"
    assert f"/runs/{run.pk}/assess/?step=3&amp;{query}" in page
    assert f"/runs/{active.pk}/assess/" not in page
    address = f"/runs/{run.pk}/assess/?step=3&{query}"
    form = text_of(client.get(address))
    assert "from <b>Weigh</b> to <b>Publish</b>" in form
    assert f'href="{listed.replace("&", "&amp;")}"' in form
    saved = client.post(address, {"verdict": "wrong"})
    assert saved["Location"] == listed
    page = text_of(client.get(listed))
    assert "Wrong, says alice" in " ".join(page.split())
    elsewhere = f"/runs/{run.pk}/assess/?step=3&list=//example.org"
    saved = client.post(elsewhere, {"verdict": "none"})
    assert saved["Location"] == "/decisions/?"
    assert not Assessment.objects.exists()


def test_profiles_show_accuracy_and_golden_runs_next_to_the_promotion(
    admin: User, sign_in: SignIn
) -> None:
    Profile.objects.create(workflow_name=NAME, name="quick", stages={})
    assessed(True, False, profile="quick")
    golden = system.mark_golden(make_run().pk, Expectation(), by=None)
    GoldenResult.objects.create(
        golden=golden,
        profile_name="quick",
        answers="real",
        outcome="different",
        differences=[
            {
                "kind": "edge",
                "expected": "publish",
                "found": "reject",
                "step": 3,
                "node": "weigh",
                "field": "",
                "tolerance": None,
                "is_missing": False,
            }
        ],
        fingerprint="x",
        duration_ms=1,
    )
    client = sign_in(admin)
    page = text_of(client.get(f"/workflows/{NAME}/profiles/"))
    assert "0 of 1 same" in page
    assert "Promote" in page
    assert client.post(f"/workflows/{NAME}/profiles/promote/").status_code == 422
    sent = {"profile": "quick", "reason": "Better."}
    assert client.post(f"/workflows/{NAME}/profiles/promote/", sent).status_code == 302
    assert Profile.objects.get().weight == 100
    listed = text_of(client.get(f"/golden/?workflow={NAME}"))
    assert "step 3, weigh: expected the edge to publish" in listed
    assert f"/runs/{golden.run_id}/?at=3" in listed


def test_differences_are_hidden_from_people_who_may_not_read_them(
    alice: User, sign_in: SignIn
) -> None:
    golden = system.mark_golden(make_run().pk, Expectation(), by=None)
    GoldenResult.objects.create(
        golden=golden, answers="real", outcome="unknown", message="secret text",
        fingerprint="x", duration_ms=1,
    )  # fmt: skip
    readers = Group.objects.create(name="readers")
    WorkflowPermission.objects.create(
        workflow_name=NAME, group=readers, can_view=False, can_read=True
    )
    listed = text_of(sign_in(alice).get("/golden/"))
    assert "Not compared" in listed
    assert "secret text" not in listed
