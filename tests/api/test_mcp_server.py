"""The Model Context Protocol with its official client over streamable HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from django.core.asgi import get_asgi_application
from django.utils import timezone
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel, ValidationError

from project.env import Environment
from tests.support.factories import make_approval, make_run, make_whole_run
from workflows.access import tokens
from workflows.api.live.limits import streams
from workflows.api.live.viewers import Viewer
from workflows.api.mcp_server import application
from workflows.engine import State, Workflow, event
from workflows.execution.approval_escalations import declare
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import Approval, AuditEvent, EventWait, Run, Status
from workflows.registry import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)
URL = "http://localhost/mcp"


@pytest.fixture
def served() -> Any:
    django: Any = get_asgi_application()
    return application.ContextProtocol(django, "1.0.0")


async def secret_of(user: User, *scopes: str) -> str:
    """Return a new token with scopes, by default with all."""
    name = f"model {'+'.join(scopes)}"
    given = scopes or ("admin",)
    made = await run_in_db(tokens.create, user, name, by=user, scopes=given)
    return made[1]


@asynccontextmanager
async def connected(served: Any, secret: str) -> AsyncIterator[Client]:
    """Connect the official client with a token."""
    transport = httpx2.ASGITransport(app=served)
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(transport=transport, headers=headers) as http_client,
        Client(streamable_http_client(URL, http_client=http_client)) as client,
    ):
        yield client


async def result_of(client: Client, tool: str, **arguments: Any) -> Any:
    """Return the structured result of a tool, which must succeed."""
    found: Any = await client.call_tool(tool, arguments)
    assert not found.is_error, found.content
    content = found.structured_content
    return content["result"] if set(content) == {"result"} else content


async def error_of(client: Client, tool: str, **arguments: Any) -> str:
    """Return the sentence of a tool that is refused."""
    found: Any = await client.call_tool(tool, arguments)
    assert found.is_error, found.content
    return str(found.content[0].text)


async def test_a_model_lists_launches_watches_explains_responds_and_cancels(
    served: Any, admin: User
) -> None:
    async with connected(served, await secret_of(admin)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert {"launch", "watch_run", "respond", "cancel_run"} <= tools
        names = [one["name"] for one in await result_of(client, "list_workflows")]
        assert "reasoning" in names
        schema = await result_of(client, "get_workflow", name="classify-document")
        assert "threshold" in str(schema["params"])
        launch = {"workflow": "classify-document", "params": {"threshold": "high"}}
        assert "threshold" in await error_of(client, "launch", **launch)

        done = await run_in_db(make_whole_run)
        decisions = await result_of(client, "explain_decisions", run=str(done.pk))
        assert len(decisions) == await run_in_db(done.decisions.count)
        watched = await result_of(client, "watch_run", run=str(done.pk))
        assert watched["status"] == "completed"

        approval = await run_in_db(make_approval, node_name="ask_reviewer")
        (shown,) = await result_of(client, "list_approvals")
        answer = {"run": shown["run"], "sequence": shown["sequence"]}
        answer |= {"value": {"outcome": "publish"}, "reason": "Checked by Ada."}
        await result_of(client, "respond", **answer)
        assert "Already answered" in await error_of(client, "respond", **answer)
        stored = await run_in_db(Approval.objects.get, pk=approval.pk)
        assert (stored.status, stored.comment) == ("answered", "Checked by Ada.")

        pending = await run_in_db(make_run, status=Status.PENDING)
        given = {"run": str(pending.pk), "reason": "Wrong input."}
        cancelled = await result_of(client, "cancel_run", **given)
        assert cancelled["status"] == "cancelled"
        listed = await result_of(client, "list_runs", status="cancelled")
        assert [one["id"] for one in listed] == [str(pending.pk)]
    event = await run_in_db(AuditEvent.objects.filter(action="cancel").get)
    assert (event.actor_name, event.token_name) == (admin.username, "model")


async def test_a_model_claims_and_releases_an_approval(
    served: Any, admin: User
) -> None:
    approval = await run_in_db(make_approval, node_name="ask_reviewer")
    run = str(approval.run_id)
    async with connected(served, await secret_of(admin)) as client:
        claimed = await result_of(client, "claim_approval", run=run)
        assert claimed["claimed_by"] == admin.username
        released = await result_of(client, "release_approval", run=run)
        assert released["claimed_by"] is None


async def test_a_model_responds_to_several_approvals_and_escalates_one(
    served: Any, admin: User
) -> None:
    made = [await run_in_db(make_approval, node_name="ask_reviewer") for _ in range(3)]
    await run_in_db(declare, made[2], timezone.now() + timedelta(hours=1), "leads")
    given = {"value": {"outcome": "publish"}, "reason": "Checked by Ada."}
    async with connected(served, await secret_of(admin)) as client:
        runs = [str(one.run_id) for one in made[:2]]
        found = await result_of(client, "respond_to_several", runs=runs, **given)
        assert [(one["run"], one["saved"]) for one in found] == [
            (run, True) for run in runs
        ]
        again = await result_of(client, "respond_to_several", runs=runs[:1], **given)
        assert "Already answered" in again[0]["detail"]
        escalated = await result_of(
            client, "escalate_approval", run=str(made[2].run_id), reason="It is urgent."
        )
        assert escalated["escalates_to"] == "leads"
        assert escalated["escalated_at"] is not None


async def test_a_model_cannot_respond_in_place_of_an_excluded_person(
    served: Any, admin: User
) -> None:
    approval = await run_in_db(
        lambda: make_approval(
            node_name="ask_reviewer", not_by="launcher", excluded=[admin.pk]
        )
    )
    answer = {"run": str(approval.run_id), "sequence": approval.sequence}
    answer |= {"value": {"outcome": "publish"}, "reason": "Checked by Ada."}
    async with connected(served, await secret_of(admin)) as client:
        assert await result_of(client, "list_approvals") == []
        refused = await error_of(client, "respond", **answer)
    assert "You launched this run: someone else has to respond." in refused
    stored = await run_in_db(Approval.objects.get, pk=approval.pk)
    assert stored.status == "open"


class Payment(BaseModel):
    amount: int


@pytest.fixture
def _waits_for_payments() -> Iterator[None]:
    """Register a workflow that waits for an event."""
    paid = event("payment", Payment, into="payment", name="paid")
    registry.register(Workflow("paid-orders", state=State, start=paid, routes={}))
    yield
    registry.unregister("paid-orders")


@pytest.mark.usefixtures("_waits_for_payments")
async def test_a_model_sends_an_event_to_the_runs_that_wait_for_it(
    served: Any, admin: User
) -> None:
    def waiting() -> Run:
        graph = {"nodes": [{"name": "paid", "kind": "event"}]}
        run = make_run(status=Status.WAITING, workflow_name="paid-orders", graph=graph)
        EventWait.objects.create(
            run=run,
            sequence=1,
            workflow_name=run.workflow_name,
            node_name="paid",
            name="payment",
            key="42",
        )
        return run

    run = await run_in_db(waiting)
    message = {"name": "payment", "key": "42", "idempotency_key": "payment-7"}
    async with connected(served, await secret_of(admin)) as client:
        wrong = {**message, "value": {"amount": "much"}}
        assert "amount" in await error_of(client, "send_event", **wrong)
        right = {**message, "value": {"amount": 120}}
        for _ in range(2):
            (sent,) = await result_of(client, "send_event", **right)
            assert (sent["runs"], sent["kept"]) == ([str(run.pk)], False)
        (wait,) = await result_of(client, "list_waits", run=str(run.pk))
        assert (wait["status"], wait["message"]["value"]) == (
            "received",
            {"amount": 120},
        )
        unknown = await error_of(client, "send_event", name="refund", value={})
        assert "refund" in unknown
    assert await run_in_db(AuditEvent.objects.filter(action="send event").count) == 1


@pytest.mark.usefixtures("_waits_for_payments")
async def test_a_launch_has_a_priority_and_a_deadline(served: Any, admin: User) -> None:
    launch: dict[str, Any] = {"workflow": "paid-orders", "params": {}}
    options = {"priority": 5, "deadline_seconds": 90}
    async with connected(served, await secret_of(admin)) as client:
        made = await result_of(client, "launch", **launch, **options)
    run = await run_in_db(Run.objects.get, pk=made["id"])
    assert run.priority == 5
    assert run.deadline_at is not None
    assert (run.deadline_at - run.created_at).total_seconds() == 90


async def test_watching_ends_with_the_run_or_the_time(served: Any, admin: User) -> None:
    run = await run_in_db(make_run, status=Status.RUNNING)
    ended = {"status": Status.COMPLETED, "completed_at": timezone.now()}
    async with connected(served, await secret_of(admin)) as client:
        early = await result_of(
            client, "watch_run", run=str(run.pk), timeout_seconds=0.01
        )
        assert early["status"] == "running"
        watching = asyncio.create_task(
            result_of(client, "watch_run", run=str(run.pk), timeout_seconds=60)
        )
        from workflows.pages.live.broadcast import hub

        async with asyncio.timeout(10):
            while not hub._subscriptions:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0)
        changes = {**ended, "lease_expires_at": None}
        await run_in_db(Run.objects.filter(pk=run.pk).update, **changes)
        notifications.announcer().committed({run.pk: 2})
        assert (await watching)["status"] == "completed"


async def test_watching_counts_as_a_stream_of_events(
    served: Any, admin: User, settings: Any
) -> None:
    settings.MAX_STREAMS_PER_PERSON = 1
    run = await run_in_db(make_run, status=Status.RUNNING)
    watch = {"run": str(run.pk), "timeout_seconds": 0.01}
    async with connected(served, await secret_of(admin)) as client:
        assert (await result_of(client, "watch_run", **watch))["status"] == "running"
        release = streams.acquire(Viewer(admin), served)
        assert "too many open streams" in await error_of(client, "watch_run", **watch)
        release()
    assert streams.used == 0


@pytest.mark.usefixtures("_waits_for_payments")
@pytest.mark.parametrize(
    ("scopes", "permitted"),
    [
        (("read",), {"list_workflows", "explain_decisions"}),
        (("launch",), {"list_workflows", "explain_decisions", "launch"}),
        (
            ("operate",),
            {"list_workflows", "explain_decisions", "cancel_run", "send_event"},
        ),
    ],
)
async def test_the_scopes_of_a_token_limit_the_tools(
    served: Any, alice: User, scopes: tuple[str, ...], permitted: set[str]
) -> None:
    approval = await run_in_db(make_approval)
    run = approval.run
    of_run = {"run": str(run.pk)}
    calls: dict[str, dict[str, Any]] = {
        "list_workflows": {},
        "explain_decisions": of_run,
        "launch": {"workflow": "classify-document", "params": {"threshold": "x"}},
        "cancel_run": {**of_run, "reason": "Wrong input."},
        "respond": {**of_run, "sequence": 4, "value": {}, "reason": "No."},
        "send_event": {
            "name": "payment",
            "value": {"amount": 1},
            "workflow": "paid-orders",
        },
    }
    refused = set()
    async with connected(served, await secret_of(alice, *scopes)) as client:
        for tool, arguments in calls.items():
            found: Any = await client.call_tool(tool, arguments)
            if found.is_error and "permission" in found.content[0].text:
                refused.add(tool)
    assert refused == set(calls) - permitted


@pytest.mark.parametrize(
    ("method", "secret", "status"),
    [("POST", "", 401), ("POST", "sbx_unknown", 401), ("GET", "", 405)],
)
async def test_requests_without_a_usable_token_are_refused_as_problems(
    served: Any, method: str, secret: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=served)) as client:
        found = await client.request(method, URL, headers=headers, json={})
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in found.headers) == (status == 401)


async def test_unknown_tokens_are_limited(served: Any, settings: Any) -> None:
    settings.RATES = {**settings.RATES, "api_failure": 2}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=served)) as client:
        found = [await client.post(URL, json={}) for _ in range(3)]
    assert [one.status_code for one in found] == [401, 401, 429]
    assert int(found[2].headers["retry-after"]) > 0


def test_the_setting_without_the_extra_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("project.network.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"requirements-mcp\.txt"):
        Environment(mcp=True)
