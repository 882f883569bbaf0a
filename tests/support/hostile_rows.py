"""A database in which every text that a user can enter is hostile.

The rows are created with valid values. Then every text and JSON value of every model is
replaced, except for the fields that are needed to read the rows. This includes fields that
are added later.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, User
from django.utils import timezone

from tests.support.agent_rows import make_content
from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_checkpoint,
    make_decision,
    make_document,
    make_line,
    make_note,
    make_retry,
    make_run,
    make_run_file,
    make_stage,
    make_worker,
)
from tests.support.hostile_forks import make_failed_step, make_origin
from tests.support.hostile_graph import hostile_form, hostile_graph
from tests.support.hostile_values import make_hostile
from workflows.execution.approval_escalations import declare
from workflows.models import (
    Agent,
    AgentCall,
    AlertIncident,
    AlertRule,
    AnswerSource,
    ApiToken,
    Approval,
    ApprovalStatus,
    Assessment,
    Budget,
    BudgetRaise,
    BulkItem,
    BulkJob,
    CallContent,
    CallStatus,
    Checkpoint,
    ChildGroup,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Destination,
    Document,
    EdgeTally,
    EventMessage,
    EventWait,
    EventWaitStatus,
    Followed,
    GoldenOutcome,
    GoldenResult,
    GoldenRun,
    ItemStatus,
    Level,
    LiveText,
    MomentResult,
    Notification,
    OutboxEvent,
    Price,
    Profile,
    Provider,
    Retention,
    Run,
    RunLabel,
    RunTally,
    SavedView,
    Schedule,
    ScheduleMoment,
    Scope,
    ServiceAccount,
    StageItem,
    StageStatus,
    Status,
    Subscription,
    VerificationStyle,
    WaitKind,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcome,
    WorkflowPause,
)

if TYPE_CHECKING:
    from uuid import UUID

REGISTERED = "classify-document"  # other runs belong to a workflow that was removed
"""Lookup keys and structured values; those that pages show are made hostile individually."""


@dataclass
class World:
    """The rows that the pages show."""

    payload: str
    user: User
    runs: dict[str, Run]
    rich: Run
    asked: Approval
    document: Document
    agent: Agent
    provider: Provider
    profile: Profile
    view: SavedView

    @property
    def schedule(self) -> Schedule:
        """Return the schedule."""
        return Schedule.objects.get()

    @property
    def ids(self) -> list[UUID]:
        """Return the ids of all runs."""
        return list(Run.objects.values_list("pk", flat=True))

    def arguments(self, workflow: str) -> dict[str, Any]:
        """Return values for all URL arguments."""
        return {
            "name": workflow,
            "run_id": self.rich.pk,
            "job_id": BulkJob.objects.get().pk,
            "document_id": self.document.pk,
            "file_id": self.rich.files.get().pk,
            "number": 1,
            "kind": "csv",
            "view_id": self.view.pk,
            "sequence": 2,
            "agent_id": self.agent.pk,
            "provider_id": self.provider.pk,
            "profile_id": self.profile.pk,
            "budget_id": Budget.objects.get().pk,
            "price_id": Price.objects.get().pk,
            "member_id": self.user.pk,
            "invitation_id": 1,
            "token_id": ApiToken.objects.get().pk,
            "schedule_id": self.schedule.pk,
            "webhook_id": WebhookEndpoint.objects.get().pk,
            "webhook_delivery_id": WebhookDelivery.objects.order_by("pk")[0].pk,
            "destination_id": Destination.objects.get().pk,
            "message_id": DeliveryAttempt.objects.get().delivery_id,
            "subscription_id": Subscription.objects.latest("pk").pk,
            "alert_id": AlertRule.objects.get().pk,
            "document": "glossary",
            "image": "run",
        }


def make_world(payload: str) -> World:
    """Create rows of all models with one hostile text."""
    user = User.objects.create_superuser("user", password="password")
    group = Group.objects.create(name=payload[:150])
    user.groups.add(group)
    graph = hostile_graph(payload)
    runs = {
        status: make_run(status=status, graph=graph, launched_by=user)
        for status in Status.values
    }
    # The registry rejects workflow names with a slash.
    name = payload[:100].replace("/", "")
    removed = make_run(workflow_name=name, graph=graph, launched_by=user)
    child = make_run(parent=removed, graph=graph, parent_sequence=1)
    runs |= {"gone": removed, "child": child}
    runs["timer"] = make_run(
        status=Status.WAITING, graph=graph, waiting_for=WaitKind.WAIT
    )
    for name, run in runs.items():
        _history(run, graph["entry"], payload, diverging=name == "timer")
    runs |= {
        "origin": make_origin(payload, user),
        "failed step": make_failed_step(payload),
    }
    for sequence in range(3, 16):  # a loop, which pages collapse
        make_stage(runs[Status.CANCELLED], graph["entry"], sequence=sequence)
    rich = runs[Status.FAILED]
    _child_runs(rich, removed.workflow_name)
    _waits(rich)
    rich.cancel_requested_by = user
    rich.cancel_requested_at = timezone.now()
    rich.save()
    document = make_document(content_type="image/svg+xml", uploaded_by=user)
    _evidence(runs[Status.COMPLETED], document, payload)
    asked = _questions(runs, document, user, payload)
    provider, agent = _agents(rich, user, payload)
    profile = _profiles(runs[Status.COMPLETED], user, payload)
    view = SavedView.objects.create(owner=user, name="a", query="q=1", shared=True)
    _operations(runs, user, graph["entry"])
    Retention.objects.create(payload_days=1)  # applies to all workflows
    make_hostile(payload)
    user.refresh_from_db()
    return World(
        payload, user, runs, rich, asked, document, agent, provider, profile, view
    )


def _operations(runs: dict[str, Run], user: User, node: str) -> None:
    """Add a worker, a bulk operation, tallies, a token and a schedule."""
    make_worker("worker-2", host="there")
    _job(runs, user)
    _tallies(node)
    _automation(user)
    _messages(runs["gone"], user)


def _automation(user: User) -> None:
    """Add a token, and a schedule with a moment of each result."""
    account = User.objects.create_user("program")
    ServiceAccount.objects.create(user=account, created_by=user)
    ApiToken.objects.create(
        owner=user, name="t", digest="0" * 64, scopes=["read"], created_by=user
    )
    schedule = Schedule.objects.create(
        workflow_name=REGISTERED,
        name="s",
        cron="0 9 * * *",
        zone="UTC",
        owner=user,
        owner_name="x",
        paused_at=timezone.now(),
    )
    for hours, result in enumerate(MomentResult.values):
        ScheduleMoment.objects.create(
            schedule=schedule,
            moment=timezone.now() - dt.timedelta(hours=hours),
            result=result,
        )
    webhook = WebhookEndpoint.objects.create(
        workflow_name=REGISTERED,
        name="w",
        path="0" * 32,
        digest="0" * 64,
        style=VerificationStyle.TOKEN,
        token_header="x",
        secrets=b"0",
        owner=user,
        owner_name="x",
        rejected=1,
        rejected_at=timezone.now(),
        rejection="x",
    )
    for outcome in WebhookOutcome.values:
        WebhookDelivery.objects.create(
            endpoint=webhook, key=outcome, outcome=outcome, message="x", body="x"
        )


def _messages(run: Run, user: User) -> None:
    """Add a paused destination with messages, notifications, and a raised alert."""
    destination = Destination.objects.create(
        name="x", url="x", owner=user, owner_name="x", paused_at=timezone.now()
    )
    for status in DeliveryStatus.values:
        delivery = Delivery.objects.create(
            destination=destination, kind="x", run_id=run.pk, body="{}", status=status
        )
    DeliveryAttempt.objects.create(delivery=delivery, number=1, error="x", excerpt="x")
    event = OutboxEvent.objects.create(kind="x", workflow_name="x", run_id=run.pk)
    Notification.objects.create(
        user=user, event_id=event.pk, kind="x", workflow_name="x", run_id=run.pk
    )
    for kind in Followed.values:
        target = run.pk.hex if kind == Followed.RUN else ""
        Subscription.objects.create(user=user, kind=kind, target=target)
    rule = AlertRule.objects.create(
        workflow_name="x",
        name="x",
        metric="edge_share",
        raise_above=0.5,
        clear_at=0.5,
        owner=user,
        owner_name="x",
        raised_at=timezone.now(),
    )
    AlertIncident.objects.create(rule=rule, raised_at=timezone.now(), raised_value=1.0)


def _history(run: Run, node: str, payload: str, *, diverging: bool) -> None:
    """Add two steps to a run; the second differs if the run is `diverging`."""
    make_attempt(run)
    other = f"{payload[:180]} too"
    for sequence in (1, 2):
        status = StageStatus.FAILED if sequence > 1 else StageStatus.COMPLETED
        make_stage(
            run,
            other if diverging and sequence > 1 else node,
            sequence=sequence,
            status=status,
            items_total=3,
            items_done=1,
        )
        for index, target in enumerate((other, node)):
            taken = (index == 0) is diverging
            make_decision(
                run, node, target, sequence=sequence, index=index, taken=taken
            )
    item = json.dumps({payload: [payload]})
    StageItem.objects.create(run=run, sequence=1, index=1, data=item)
    make_retry(run, sequence=2, number=1, wait_seconds=1)
    for level in (Level.INFO, Level.ERROR):
        make_line(run, payload, level=level)
    state = {payload: payload, "list": [payload, {payload: [payload]}]}
    change = [{"op": "add", "path": "/more", "value": {payload: payload}}]
    make_checkpoint(run, sequence=0)
    for sequence, kind, data in (
        (1, Checkpoint.Kind.FULL, state),
        (2, Checkpoint.Kind.DELTA, change),
    ):
        text = json.dumps(data)
        make_checkpoint(
            run,
            sequence=sequence,
            kind=kind,
            data=text,
            bytes=len(text),
            node_name=node,
        )
    Run.objects.filter(pk=run.pk).update(
        sequence=2, result={"result": {payload: [payload]}, payload: payload}
    )
    make_audit_event(run)
    make_note(run)
    RunLabel.objects.create(run=run, name="urgent")
    _reviews(run)


def _reviews(run: Run) -> None:
    """Assess a run and mark it golden, with a result of every kind."""
    person = {"person_name": "ada", "workflow_name": run.workflow_name}
    Assessment.objects.create(run=run, is_right=True, note="so", **person)
    Assessment.objects.create(
        run=run, sequence=1, from_node="a", to_node="b", is_right=False, **person
    )
    golden = GoldenRun.objects.create(run=run, reason="typical", **person)
    values = {"expected": "x", "found": "y", "step": 1, "node": "n"}
    GoldenResult.objects.create(
        golden=golden,
        answers=AnswerSource.REAL,
        outcome=GoldenOutcome.DIFFERENT,
        differences=[{"kind": "edge", **values}, {"kind": "field", **values}],
        message="no answer",
        fingerprint="f",
        duration_ms=1,
    )


def _child_runs(parent: Run, workflow: str) -> None:
    """Give a run a step with a child run for an element."""
    child = make_run(workflow_name=workflow, parent=parent, parent_sequence=1)
    group = ChildGroup.objects.create(
        parent=parent, sequence=1, workflow_name=workflow, total=1, limit=1
    )
    group.items.create(position=0, status=ItemStatus.LAUNCHED, child=child)


def _waits(run: Run) -> None:
    """Add a file, a message that a run has received, and pause the registered workflow."""
    make_run_file(run)
    message = EventMessage.objects.create(
        workflow_name=run.workflow_name, name="x", key="x", value={}, sender_name="x"
    )
    EventWait.objects.create(
        run=run,
        sequence=1,
        workflow_name=run.workflow_name,
        node_name="x",
        name="x",
        key="x",
        status=EventWaitStatus.RECEIVED,
        message=message,
        closed_at=timezone.now(),
    )
    WorkflowPause.objects.create(
        workflow_name=REGISTERED, reason="x", paused_by_name="x"
    )


def _evidence(run: Run, document: Document, payload: str) -> None:
    marks = [
        {
            "box": [0.1, 0.1, 0.5, 0.2],
            "text": payload,
            "label": payload,
            "note": payload,
        }
    ]
    result = {
        "document": str(document.pk),
        "pages": [{"page": 1, "marks": marks, "text": payload, "note": payload}],
        "file": str(make_run_file(run).pk),
        payload: payload,
    }
    Run.objects.filter(pk=run.pk).update(result={"result": result, **result})


def _questions(
    runs: dict[str, Run], document: Document, user: User, payload: str
) -> Approval:
    evidence = {
        "document": str(document.pk),
        "pages": [
            {
                "page": 1,
                "text": payload,
                "marks": [
                    {"box": [0.1, 0.1, 0.5, 0.2], "label": payload, "text": payload}
                ],
            }
        ],
        payload: {payload: [payload]},
    }
    form = hostile_form(payload)
    shown = {"form": form, "evidence": evidence, "groups": [payload[:150]]}
    make_approval(
        runs[Status.COMPLETED],
        status=ApprovalStatus.ANSWERED,
        responded_by=user,
        responded_at=timezone.now(),
        **shown,
    )
    asked = make_approval(runs[Status.WAITING], node_name="review", **shown)
    declare(asked, timezone.now() + dt.timedelta(hours=4), payload[:150])
    return asked


def _agents(run: Run, user: User, payload: str) -> tuple[Provider, Agent]:
    provider = Provider.objects.create(
        name="p", base_url="http://localhost/v1", tries=1, is_enabled=False
    )
    agent = Agent.objects.create(name="a", provider=provider, model="m")
    Price.objects.create(model="m", per_million_in=1, per_million_out=1)
    for status in CallStatus.values:
        call = AgentCall.objects.create(
            run=run,
            attempt=1,
            sequence=2,
            kind="chat",
            agent_name="a",
            provider_name="p",
            model="m",
            latency_ms=1,
            status=status,
            cost=Decimal(1),
            person=user,
        )
        make_content(call, payload, payload)
        CallContent.objects.filter(pk=call.pk).update(problem=payload)
    running = Run.objects.filter(status=Status.RUNNING)[0]
    LiveText.objects.create(
        id=AgentCall().pk, run=running, attempt=1, sequence=2, agent_name="a"
    )
    return provider, agent


def _profiles(run: Run, user: User, payload: str) -> Profile:
    profile = Profile.objects.create(
        workflow_name="summarize", name="p", weight=1, stages={}
    )
    Assessment.objects.filter(run=run).update(workflow_name="summarize")
    Run.objects.filter(pk=run.pk).update(
        profile_name=payload[:60],
        profile_stages={
            payload: {
                "agent": payload,
                "prompt": payload,
                "options": {payload: payload},
            }
        },
    )
    budget = Budget.objects.create(name="b", scope=Scope.RUN, tokens=1)
    BudgetRaise.objects.create(
        budget=budget, by=user, by_name="x", day=dt.date(2026, 1, 1)
    )
    return profile


def _job(runs: dict[str, Run], user: User) -> None:
    job = BulkJob.objects.create(
        action="label", person=user, person_name="x", total=9, done=1, refused=1
    )
    results = ("done", "refused", "")
    for position, result in enumerate(results, 1):
        BulkItem.objects.create(
            job=job,
            position=position,
            run_id=runs["gone"].pk,
            workflow_name=REGISTERED,
            status_before="failed",
            result=result,
        )


def _tallies(node: str) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    RunTally.objects.create(
        hour=hour, workflow_name=REGISTERED, status=Status.FAILED, count=3
    )
    EdgeTally.objects.create(
        hour=hour,
        workflow_name=REGISTERED,
        from_node=node,
        to_node=node,
        edge_index=1,
        predicate_name="p",
        taken=3,
        rejected=1,
    )
