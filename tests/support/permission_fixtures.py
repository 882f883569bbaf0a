"""Workflows with different permissions, their rows, and a user for each role.

Every value of the rows is the same word, so that a test finds any page that reveals one.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
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
    make_role,
    make_run,
    make_run_file,
    make_stage,
    make_user,
    make_worker,
)
from workflows.access import roles
from workflows.infra import encryption
from workflows.models import (
    Agent,
    AgentCall,
    AlertIncident,
    AlertRule,
    ApiToken,
    Approval,
    Budget,
    BudgetRaise,
    BulkItem,
    BulkJob,
    CallStatus,
    Checkpoint,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Destination,
    Document,
    DocumentUse,
    EdgeTally,
    EventMessage,
    EventWait,
    EventWaitStatus,
    Followed,
    GoldenRun,
    LiveText,
    MomentResult,
    Notification,
    OutboxEvent,
    Outcome,
    Price,
    Profile,
    Provider,
    RemovedRun,
    Retention,
    Run,
    RunFile,
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
    Variable,
    WebhookDelivery,
    WebhookEndpoint,
    WorkflowPause,
    WorkflowPermission,
)
from workflows.models.runs import new_run_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User

OURS, THEIRS = "classify-document", "summarize"  # visible to roles; to a team only
DIRECTORS = "reasoning"  # visible to the group of directors only
WORD = "xylophone"  # the value that requires the permission to read values
ROLES = (roles.VIEWER, roles.LAUNCHER, roles.OPERATOR, roles.AUDITOR, roles.ADMIN)
STAFF = {roles.AUDITOR, roles.ADMIN, "superuser"}
COLUMNS = ("anonymous", "member", *ROLES, "superuser", "no values", "open")


@dataclass(frozen=True, slots=True)
class World:
    """The rows, and their owner."""

    runs: dict[str, Run]  # of OURS, by status
    child: Run
    of_directors: Run
    asked: Approval
    document: Document
    file: RunFile  # of the run
    profile: Profile
    agent: Agent
    provider: Provider
    budget: Budget
    price: Price
    view: SavedView
    job: BulkJob
    token: ApiToken  # of a service account
    schedule: Schedule
    delivery: WebhookDelivery
    message: Delivery
    subscription: Subscription
    incident: AlertIncident
    owner: User

    @property
    def run(self) -> Run:
        """The run with rows of every kind."""
        return self.runs[Status.FAILED]


def user_of(column: str) -> User | None:
    """Return the user of a column of the permission table; None if anonymous."""
    if column == "anonymous":
        return None
    user = make_user(f"the {column}", is_staff=column in STAFF)
    if column == "superuser":
        user.is_superuser = True
        user.save()
    if column in ROLES:
        user.groups.add(make_role(column))
    if column == "no values":
        user.groups.add(make_role(roles.OPERATOR))
        others = Group.objects.create(name="readers")
        WorkflowPermission.objects.create(
            workflow_name=OURS, group=others, can_view=False, can_read=True
        )
    if column == "member":
        _grant_other_workflow(user)
    return user


def _grant_other_workflow(user: User) -> None:
    """Grant all permissions of THEIRS and none of OURS."""
    team = Group.objects.create(name="team")
    user.groups.add(team)
    flags = {f"can_{verb}": True for verb in ("launch", "operate", "approve")}
    WorkflowPermission.objects.create(workflow_name=THEIRS, group=team, **flags)
    make_run(workflow_name=THEIRS)
    make_decision(make_run(workflow_name=THEIRS), reason="of another workflow")


# addresses and operations that are about the open approval of a run
ABOUT_APPROVALS = re.compile(
    r"\brespond\b|claim|[-_]approval\b|remind|/(reassign|escalate|snooze)/"
)


def make_world() -> World:
    """Create runs of OURS with rows of every kind."""
    owner = make_user("olga owner")
    document = make_document(f"{WORD}.pdf", uploaded_by=owner)
    DocumentUse.objects.create(document=document, workflow_name=OURS)
    runs = {status: _run(status, owner, document) for status in Status.values}
    child = make_run(parent=runs[Status.WAITING], workflow_name=OURS)
    for run in runs.values():
        _history(run, owner)
    asked = _questions(runs, owner)
    provider, agent = _agents(runs)
    profile = Profile.objects.create(workflow_name=OURS, name="p", stages={})
    _tallies()
    directors = Group.objects.create(name="directors")
    WorkflowPermission.objects.create(workflow_name=DIRECTORS, group=directors)
    of_directors = make_run(workflow_name=DIRECTORS, status=Status.PENDING)
    make_decision(of_directors, "decide", "act")
    view = SavedView.objects.create(
        owner=owner, name=WORD, query=f"workflow={OURS}&label={WORD}", shared=True
    )
    make_worker()
    Retention.objects.create(workflow_name=OURS, payload_days=36_500)
    WorkflowPause.objects.create(
        workflow_name=OURS, reason=WORD, paused_by_name="another operator"
    )
    RemovedRun.objects.create(
        id=new_run_id(),
        workflow_name=OURS,
        status=Status.FAILED,
        created_at=timezone.now(),
        removed_by_name="olga owner",
    )
    GoldenRun.objects.create(
        run=runs[Status.COMPLETED],
        workflow_name=OURS,
        fields=[{"field": WORD, "tolerance": None}],
        reason=WORD,
        person_name=owner.username,
    )
    job = BulkJob.objects.create(
        action="label", label=WORD, person=owner, person_name=owner.username, total=1
    )
    failed = runs[Status.FAILED]
    BulkItem.objects.create(
        job=job,
        position=1,
        run_id=failed.pk,
        workflow_name=OURS,
        status_before="failed",
    )
    budget, price = Budget.objects.get(), Price.objects.get()
    return World(
        runs,
        child,
        of_directors,
        asked,
        document,
        make_run_file(failed, f"{WORD}.csv", WORD.encode()),
        profile,
        agent,
        provider,
        budget,
        price,
        view,
        job,
        _token(),
        _schedule(runs[Status.COMPLETED], owner),
        _delivery(runs[Status.COMPLETED], owner),
        _message(runs[Status.COMPLETED], owner),
        _subscription(runs[Status.COMPLETED], owner),
        _incident(owner),
        owner,
    )


def _token() -> ApiToken:
    account = ServiceAccount.objects.create(user=make_user("ci"))
    return ApiToken.objects.create(
        owner=account.user, name="import", hint="sbx_0000", digest="0" * 64
    )


def _run(status: str, owner: User, document: Document) -> Run:
    values: dict[str, Any] = {
        "title": WORD,
        "params": {"document": str(document.pk), "word": WORD},
        "launched_by": owner,
        "sequence": 2,
        "cancel_reason": WORD,
    }
    if status == Status.FAILED:
        values["error_message"] = WORD
    if status == Status.COMPLETED:
        evidence = {"document": str(document.pk), "pages": [{"page": 1, "text": WORD}]}
        values["result"] = {"result": {WORD: WORD, "evidence": evidence}, WORD: WORD}
    return make_run(status=status, workflow_name=OURS, **values)


def _history(run: Run, owner: User) -> None:
    make_attempt(run, outcome=Outcome.FAILED, error_message=WORD, traceback=WORD)
    make_stage(run, "read_pages", sequence=1, items_done=1, items_total=2)
    StageItem.objects.create(run=run, sequence=1, index=0, data=json.dumps(WORD))
    make_stage(run, "weigh", sequence=2, status=StageStatus.FAILED, error_message=WORD)
    make_decision(
        run,
        sequence=1,
        reason=WORD,
        values={WORD: WORD},
        comment=WORD,
        decided_by=owner,
    )
    make_retry(run, sequence=2, error_message=WORD, wait_seconds=100_000)
    make_line(run, WORD)
    make_note(run, WORD)
    make_audit_event(run, reason=WORD)
    RunLabel.objects.create(run=run, name=WORD)
    for sequence in (0, 1, 2):
        text = json.dumps({WORD: f"{WORD} {sequence}"})
        make_checkpoint(
            run,
            sequence=sequence,
            kind=Checkpoint.Kind.FULL,
            data=text,
            bytes=len(text),
            node_name="weigh",
        )


def _questions(runs: dict[str, Run], owner: User) -> Approval:
    form = {
        "type": "object",
        "properties": {"outcome": {"enum": [WORD], "type": "string", "title": WORD}},
    }
    texts = {"question": WORD, "form": form, "evidence": {WORD: WORD}}
    make_approval(
        runs[Status.COMPLETED],
        status="answered",
        responded_by=owner,
        responded_at=timezone.now(),
        comment=WORD,
        response={"outcome": WORD},
        **texts,
    )
    return make_approval(runs[Status.WAITING], node_name="ask_reviewer", **texts)


def _schedule(run: Run, owner: User) -> Schedule:
    """Return a paused schedule with a launched and a refused moment."""
    now = timezone.now()
    schedule = Schedule.objects.create(
        workflow_name=OURS,
        name="nightly",
        cron="0 0 * * *",
        zone="UTC",
        params={"word": WORD},
        owner=owner,
        owner_name=owner.username,
        paused_at=now,
        paused_by_name=owner.username,
        pause_reason=WORD,
    )
    day = dt.timedelta(days=1)
    results = {run.pk: MomentResult.LAUNCHED, None: MomentResult.REFUSED}
    for number, (run_id, result) in enumerate(results.items()):
        ScheduleMoment.objects.create(
            schedule=schedule,
            moment=now - number * day,
            result=result,
            run_id=run_id,
            message=WORD,
        )
    Run.objects.filter(pk=run.pk).update(scheduled_for=now)
    return schedule


def _delivery(run: Run, owner: User) -> WebhookDelivery:
    """Return a delivery to a webhook that launched a run."""
    webhook = WebhookEndpoint.objects.create(
        workflow_name=OURS,
        name="orders",
        path="0" * 32,
        digest="0" * 64,
        style="token",
        token_header="X-Token",
        deduplication="body",
        secrets=encryption.encrypt({"current": "0" * 32}),
        mapping=[{"param": "word", "source": "constant", "value": WORD}],
        filters=[{"source": "body", "value": WORD, "values": [WORD]}],
        owner=owner,
        owner_name=owner.username,
        saved_by=owner,
    )
    return WebhookDelivery.objects.create(
        endpoint=webhook,
        key="body 0",
        outcome="launched",
        run_id=run.pk,
        message=WORD,
        event=WORD,
        headers={"x-word": WORD},
        body=json.dumps({WORD: WORD}),
    )


def _message(run: Run, owner: User) -> Delivery:
    """Return a delivered message to a failing destination."""
    destination = Destination.objects.create(
        name="receiver",
        url="http://127.0.0.1:9/hook",
        owner=owner,
        owner_name=owner.username,
        failures=1,
        next_attempt_at=timezone.now(),
    )
    event = OutboxEvent.objects.create(
        kind="run.completed", workflow_name=run.workflow_name, run_id=run.pk
    )
    delivery = Delivery.objects.create(
        destination=destination,
        event_id=event.pk,
        kind="run.completed",
        workflow_name=run.workflow_name,
        run_id=run.pk,
        body="{}",
        status=DeliveryStatus.DELIVERED,
        attempts=1,
        ended_at=timezone.now(),
    )
    DeliveryAttempt.objects.create(delivery=delivery, number=1, response_status=204)
    return delivery


def _subscription(run: Run, owner: User) -> Subscription:
    """Return a subscription to our workflow, of someone who has a notification."""
    Notification.objects.create(
        user=owner,
        event_id=1,
        kind="run.completed",
        workflow_name=run.workflow_name,
        run_id=run.pk,
    )
    return Subscription.objects.create(
        user=owner, kind=Followed.WORKFLOW, target=run.workflow_name
    )


def _incident(owner: User) -> AlertIncident:
    """Return an incident of a raised alert of our workflow."""
    rule = AlertRule.objects.create(
        workflow_name=OURS,
        name="failures",
        metric="failed_share",
        raise_above=0.5,
        clear_at=0.5,
        owner=owner,
        owner_name=owner.username,
        raised_at=timezone.now(),
        value=1.0,
    )
    return AlertIncident.objects.create(
        rule=rule, raised_at=timezone.now(), raised_value=1.0
    )


def _agents(runs: dict[str, Run]) -> tuple[Provider, Agent]:
    provider = Provider.objects.create(name="p", base_url="http://localhost/v1")
    unused = Provider.objects.create(name="spare", base_url="http://localhost/v1")
    agent = Agent.objects.create(name="a", provider=provider, model="m")
    Price.objects.create(model="m", per_million_in=1, per_million_out=1)
    Variable.objects.create(name="host", value="mail.example", workflows=[OURS])
    run = runs[Status.RUNNING]
    message = EventMessage.objects.create(
        workflow_name=OURS, name="paid", key=WORD, value={"word": WORD}, sender_name="x"
    )
    EventWait.objects.create(
        run=run, sequence=1, workflow_name=OURS, node_name="wait", name="paid", key=WORD,
        status=EventWaitStatus.RECEIVED, message=message, closed_at=timezone.now(),
    )  # fmt: skip
    call = AgentCall.objects.create(
        run=run,
        workflow_name=OURS,
        attempt=1,
        sequence=2,
        kind="chat",
        agent_name="a",
        provider_name="p",
        model="m",
        latency_ms=1,
        status=CallStatus.values[0],
    )
    make_content(call, WORD, WORD)
    LiveText.objects.create(
        id=call.pk, run=run, attempt=1, sequence=2, agent_name="a", text=WORD
    )
    budget = Budget.objects.create(name="b", scope=Scope.RUN, tokens=1)
    BudgetRaise.objects.create(
        budget=budget,
        run=run,
        workflow_name=OURS,
        by_name="x",
        day=dt.date(2026, 1, 1),
    )
    return unused, agent


def _tallies() -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    RunTally.objects.create(
        hour=hour, workflow_name=OURS, status=Status.FAILED, count=4711
    )
    EdgeTally.objects.create(
        hour=hour,
        workflow_name=OURS,
        from_node="weigh",
        to_node="publish",
        edge_index=0,
        predicate_name="is_confident",
        taken=4711,
        rejected=1,
    )


def leaks(column: str, world: World, asked: str, text: str) -> list[str]:
    """Return the values in a response that the user of a column must not see."""
    forbidden = [str(world.of_directors.pk), DIRECTORS, "Reasoning"]
    if column in {"anonymous", "member"}:
        runs = [*world.runs.values(), world.child]
        forbidden += [*(str(run.pk) for run in runs), *(run.short_id for run in runs)]
        forbidden += [OURS, "Classify document", WORD, "4711", world.owner.username]
    if column in {"auditor", "admin", "superuser"}:
        return []
    if column == "no values":
        forbidden.append(WORD)
    return [one for one in forbidden if one in text and one not in asked]
