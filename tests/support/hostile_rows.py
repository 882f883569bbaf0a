"""A database in which every text that someone can give is hostile, to be looked at.

The rows are made as usual; then every text and JSON value of every model is replaced,
but for what the rows could not be read without. A field that is added later is hostile
too, with no line to be added here.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import models
from django.utils import timezone

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
    make_stage,
    make_worker,
)
from workflows.models import (
    Agent,
    AgentCall,
    ApiToken,
    Approval,
    ApprovalStatus,
    Budget,
    BudgetRaise,
    BulkItem,
    BulkJob,
    CallStatus,
    Checkpoint,
    Document,
    EdgeTally,
    Level,
    LiveText,
    MomentResult,
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
    StageStatus,
    Status,
    VerificationStyle,
    WaitKind,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcome,
)

if TYPE_CHECKING:
    from uuid import UUID

KNOWN = (
    "classify-document"  # a workflow there is; runs of one that is gone are made too
)
KEPT = {
    "workflows.Retention.workflow_name",
    "auth.Group.name",
    "auth.User.password",
    "workflows.Agent.capabilities",
    "workflows.ApiToken.digest",
    "workflows.ApiToken.scopes",
    "workflows.ApiToken.workflows",
    "workflows.Approval.form",
    "workflows.Approval.evidence",
    "workflows.Approval.groups",
    "workflows.Budget.groups",
    "workflows.Budget.workflow_name",
    "workflows.BulkItem.status_before",
    "workflows.BulkItem.workflow_name",
    "workflows.BulkJob.action",
    "workflows.Checkpoint.data",
    "workflows.Checkpoint.node_name",
    "workflows.Decision.from_node",
    "workflows.Decision.to_node",
    "workflows.Decision.workflow_name",
    "workflows.Document.sha256",
    "workflows.EdgeTally.workflow_name",
    "workflows.EdgeTally.from_node",
    "workflows.EdgeTally.to_node",
    "workflows.PageImage.options",
    "workflows.Profile.workflow_name",
    "workflows.Profile.stages",
    "workflows.Run.graph",
    "workflows.Run.idempotency_key",
    "workflows.Run.profile_stages",
    "workflows.Run.result",
    "workflows.Run.current_stage",
    "workflows.Run.workflow_name",
    "workflows.RunTally.status",
    "workflows.RunTally.workflow_name",
    "workflows.SavedView.query",
    "workflows.Schedule.cron",
    "workflows.Schedule.params",
    "workflows.Schedule.workflow_name",
    "workflows.Schedule.zone",
    "workflows.Stage.node_name",
    "workflows.StageItem.data",
    "workflows.Tally.name",
    "workflows.WebhookEndpoint.digest",
    "workflows.WebhookEndpoint.filters",
    "workflows.WebhookEndpoint.mapping",
    "workflows.WebhookEndpoint.path",
    "workflows.WebhookEndpoint.workflow_name",
}
"""What a page finds rows by, or what has a shape; those that show get hostile values below."""


@dataclass
class World:
    """What the pages of the test are about."""

    evil: str
    person: User
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
        """Return what addresses name, for rows that are there."""
        return {
            "name": workflow,
            "run_id": self.rich.pk,
            "job_id": BulkJob.objects.get().pk,
            "document_id": self.document.pk,
            "number": 1,
            "kind": "csv",
            "view_id": self.view.pk,
            "sequence": 2,
            "agent_id": self.agent.pk,
            "provider_id": self.provider.pk,
            "profile_id": self.profile.pk,
            "budget_id": Budget.objects.get().pk,
            "price_id": Price.objects.get().pk,
            "token_id": ApiToken.objects.get().pk,
            "schedule_id": self.schedule.pk,
            "webhook_id": WebhookEndpoint.objects.get().pk,
            "delivery_id": WebhookDelivery.objects.order_by("pk")[0].pk,
        }


def make_world(evil: str) -> World:
    """Return a database full of one hostile text."""
    person = User.objects.create_superuser("somebody", password="somebody's")
    group = Group.objects.create(name=evil[:150])
    person.groups.add(group)
    graph = hostile_graph(evil)
    node = graph["entry"]
    runs = {
        status: make_run(status=status, graph=graph, launched_by=person)
        for status in Status.values
    }
    # names of workflows are their authors': a registry takes none with a slash
    named = evil[:100].replace("/", "")
    gone = make_run(workflow_name=named, graph=graph, launched_by=person)
    child = make_run(parent=gone, graph=graph, parent_sequence=1)
    runs |= {"gone": gone, "child": child}
    runs["timer"] = make_run(
        status=Status.WAITING, graph=graph, waiting_for=WaitKind.WAIT
    )
    for name, run in runs.items():
        _history(run, node, evil, parted=name == "timer")
    for sequence in range(3, 16):  # a loop, to be folded
        make_stage(runs[Status.CANCELLED], node, sequence=sequence)
    rich = runs[Status.FAILED]
    rich.cancel_requested_by = person
    rich.cancel_requested_at = timezone.now()
    rich.save()
    document = make_document(content_type="image/svg+xml", uploaded_by=person)
    _evidence(runs[Status.COMPLETED], document, evil)
    asked = _questions(runs, document, person, evil)
    provider, agent = _agents(rich, person)
    profile = _profiles(runs[Status.COMPLETED], person, evil)
    view = SavedView.objects.create(owner=person, name="a", query="q=1", shared=True)
    _operations(runs, person, node)
    Retention.objects.create(payload_days=1)  # for every workflow, whatever its name
    _make_hostile(evil)
    person.refresh_from_db()
    return World(
        evil, person, runs, rich, asked, document, agent, provider, profile, view
    )


def _operations(runs: dict[str, Run], person: User, node: str) -> None:
    """Add a worker, a bulk operation, numbers, a token and a schedule."""
    make_worker("worker-2", host="there")
    _job(runs, person)
    _tallies(node)
    _automation(person)


def _automation(person: User) -> None:
    """Add a token, and a schedule with a moment of each result."""
    account = User.objects.create_user("program")
    ServiceAccount.objects.create(user=account, created_by=person)
    ApiToken.objects.create(
        owner=person, name="t", digest="0" * 64, scopes=["read"], created_by=person
    )
    schedule = Schedule.objects.create(
        workflow_name=KNOWN,
        name="s",
        cron="0 9 * * *",
        zone="UTC",
        owner=person,
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
        workflow_name=KNOWN,
        name="w",
        path="0" * 32,
        digest="0" * 64,
        style=VerificationStyle.TOKEN,
        token_header="x",
        secrets=b"0",
        owner=person,
        owner_name="x",
        rejected=1,
        rejected_at=timezone.now(),
        rejection="x",
    )
    for outcome in WebhookOutcome.values:
        WebhookDelivery.objects.create(
            endpoint=webhook, key=outcome, outcome=outcome, message="x", body="x"
        )


def hostile_graph(evil: str) -> dict[str, Any]:
    """Return the drawing of a graph whose every name and text is hostile."""
    node, other = evil[:200], f"{evil[:180]} too"
    return {
        "entry": node,
        "exits": [other],
        "nodes": [
            {"name": node, "kind": "parallel", "doc": evil},
            {"name": other, "kind": "approval", "doc": evil},
        ],
        "edges": [
            {"source": node, "target": other, "index": 0, "predicate": evil},
            {"source": node, "target": node, "index": 1, "predicate": evil},
        ],
    }


def _history(run: Run, node: str, evil: str, *, parted: bool) -> None:
    """Add two steps to a run; a diverging run takes another route."""
    make_attempt(run)
    other = f"{evil[:180]} too"
    for sequence in (1, 2):
        status = StageStatus.FAILED if sequence > 1 else StageStatus.COMPLETED
        make_stage(
            run,
            other if parted and sequence > 1 else node,
            sequence=sequence,
            status=status,
            items_total=3,
            items_done=1,
        )
        for index, target in enumerate((other, node)):
            taken = (index == 0) is parted
            make_decision(
                run, node, target, sequence=sequence, index=index, taken=taken
            )
    make_retry(run, sequence=2, number=1, wait_seconds=1)
    for level in (Level.INFO, Level.ERROR):
        make_line(run, evil, level=level)
    state = {evil: evil, "list": [evil, {evil: [evil]}]}
    change = [{"op": "add", "path": "/more", "value": {evil: evil}}]
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
        sequence=2, result={"result": {evil: [evil]}, evil: evil}
    )
    make_audit_event(run)
    make_note(run)
    RunLabel.objects.create(run=run, name="urgent")


def _evidence(run: Run, document: Document, evil: str) -> None:
    marks = [{"box": [0.1, 0.1, 0.5, 0.2], "text": evil, "label": evil, "note": evil}]
    result = {
        "document": str(document.pk),
        "pages": [{"page": 1, "marks": marks, "text": evil, "note": evil}],
        evil: evil,
    }
    Run.objects.filter(pk=run.pk).update(result={"result": result, **result})


def _questions(
    runs: dict[str, Run], document: Document, person: User, evil: str
) -> Approval:
    form = {
        "type": "object",
        "title": evil,
        "description": evil,
        "properties": {
            "outcome": {
                "enum": [evil, "b"],
                "type": "string",
                "title": evil,
                "description": evil,
            },
            "text": {"type": "string", "title": evil, "default": evil},
        },
        "required": ["outcome"],
    }
    evidence = {
        "document": str(document.pk),
        "pages": [
            {
                "page": 1,
                "text": evil,
                "marks": [{"box": [0.1, 0.1, 0.5, 0.2], "label": evil, "text": evil}],
            }
        ],
        evil: {evil: [evil]},
    }
    shown = {"form": form, "evidence": evidence, "groups": [evil[:150]]}
    make_approval(
        runs[Status.COMPLETED],
        status=ApprovalStatus.ANSWERED,
        responded_by=person,
        responded_at=timezone.now(),
        **shown,
    )
    return make_approval(runs[Status.WAITING], node_name="review", **shown)


def _agents(run: Run, person: User) -> tuple[Provider, Agent]:
    provider = Provider.objects.create(
        name="p", base_url="http://localhost/v1", tries=1, is_enabled=False
    )
    agent = Agent.objects.create(name="a", provider=provider, model="m")
    Price.objects.create(model="m", per_million_in=1, per_million_out=1)
    for status in CallStatus.values:
        AgentCall.objects.create(
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
            person=person,
        )
    running = Run.objects.filter(status=Status.RUNNING)[0]
    LiveText.objects.create(
        id=AgentCall().pk, run=running, attempt=1, sequence=2, agent_name="a"
    )
    return provider, agent


def _profiles(run: Run, person: User, evil: str) -> Profile:
    profile = Profile.objects.create(
        workflow_name="summarize", name="p", weight=1, stages={}
    )
    Run.objects.filter(pk=run.pk).update(
        profile_name=evil[:60],
        profile_stages={evil: {"agent": evil, "prompt": evil, "options": {evil: evil}}},
    )
    budget = Budget.objects.create(name="b", scope=Scope.RUN, tokens=1)
    BudgetRaise.objects.create(
        budget=budget, by=person, by_name="x", day=dt.date(2026, 1, 1)
    )
    return profile


def _job(runs: dict[str, Run], person: User) -> None:
    job = BulkJob.objects.create(
        action="label", person=person, person_name="x", total=9, done=1, refused=1
    )
    results = ("done", "refused", "")
    for position, result in enumerate(results, 1):
        BulkItem.objects.create(
            job=job,
            position=position,
            run_id=runs["gone"].pk,
            workflow_name=KNOWN,
            status_before="failed",
            result=result,
        )


def _tallies(node: str) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    RunTally.objects.create(
        hour=hour, workflow_name=KNOWN, status=Status.FAILED, count=3
    )
    EdgeTally.objects.create(
        hour=hour,
        workflow_name=KNOWN,
        from_node=node,
        to_node=node,
        edge_index=1,
        predicate_name="p",
        taken=3,
        rejected=1,
    )


def _make_hostile(evil: str) -> None:
    """Put the text into every text column."""
    for model in apps.get_models():
        meta = model._meta  # noqa: SLF001 - Django's documented model API
        if (
            meta.app_label not in {"workflows", "auth"}
            or model.__name__ == "Permission"
        ):
            continue
        rows = model._default_manager  # noqa: SLF001 - likewise
        for number, pk in enumerate(rows.values_list("pk", flat=True)):
            values = {
                field.attname: hostile_value(field, evil, number)
                for field in meta.concrete_fields
                if is_text(field) and f"{meta.label}.{field.name}" not in KEPT
            }
            if values:
                rows.filter(pk=pk).update(**values)


def is_text(field: models.Field[Any, Any]) -> bool:
    """Return whether a field holds what someone wrote."""
    if field.choices or field.primary_key or isinstance(field, models.FileField):
        return False
    return isinstance(field, models.CharField | models.TextField | models.JSONField)


def hostile_value(field: models.Field[Any, Any], evil: str, number: int) -> Any:
    """Return the text as the field can hold it; another one for each row if it has to be."""
    if field.name == "holds":  # written by workers alone; only names are of authors
        since = "2026-01-01T00:00:00+00:00"
        return [{"kind": "thread", "run": evil, "node": evil, "since": since}]
    if isinstance(field, models.JSONField):
        return {evil: evil, "list": [evil, [evil, {evil: evil}]]}
    text = (
        f"{evil}{number}" if number and (field.unique or field.name == "name") else evil
    )
    most = field.max_length
    if most is None or len(text) <= most:
        return text
    return text[: most - 2] + (str(number) if number else "")
