"""Golden runs are rerun in memory, and what differs is reported."""

from __future__ import annotations

import json
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import pytest
from django.core.management import call_command
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import (
    make_approval,
    make_decision,
    make_document,
    make_run,
    make_stage,
    make_user,
)
from tests.support.workers import ended, working
from workflows.agents.call_content import Exchange, pack
from workflows.agents.call_requests import CallRequest
from workflows.agents.recordings import NoMasks
from workflows.engine import (
    State,
    Workflow,
    approval,
    event,
    node,
    otherwise,
    predicate,
    resource,
    subworkflow,
    when,
)
from workflows.execution import variables
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AgentCall,
    AnswerSource,
    Approval,
    EventMessage,
    EventWait,
    EventWaitStatus,
    GoldenOutcome,
    GoldenResult,
    GoldenRun,
    OutboxEvent,
    Run,
    Stage,
    Variable,
)
from workflows.registry import registry
from workflows.runtime import Runtime
from workflows.services.golden_comparison import Difference
from workflows.services.golden_fields import GoldenField
from workflows.services.golden_rerun import Comparison, Mode, compare
from workflows.services.golden_runs import Expectation
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "golden-orders"


class Verdict(BaseModel):
    """Response of the approval."""

    outcome: Literal["ship", "drop"]


class Payment(BaseModel):
    """Message of the event."""

    amount: float


class Order(State):
    """State of the runs here."""

    amount: float = 2.0
    limit: float = 5.0
    verdict: Verdict | None = None
    payment: Payment | None = None
    host: str = ""
    pages: int = 0


@predicate("amount {s.amount}")
def is_small(state: Order) -> bool:
    return state.amount < state.limit


@node
async def price(state: Order, runtime: Runtime) -> Order:
    return state.set(amount=state.amount * 2)


ask = approval("Ship it?", answer=Verdict, into="verdict", name="ask")
paid = event("paid", answer=Payment, into="payment", name="wait")


@node
async def ship(state: Order) -> Order:
    return state


def orders(**options: Any) -> Workflow[Order]:
    return Workflow(
        NAME,
        state=Order,
        start=options.pop("start", price),
        routes=options.pop(
            "routes",
            {price: [when(is_small, ship), otherwise(ask)], ask: paid, paid: ship},
        ),
        **options,
    )


@pytest.fixture
def workflow() -> Any:
    """Register the workflow for one test; a test may register another version."""
    registry.register(orders())
    yield registry.get(NAME)
    registry.unregister(NAME)


def change(made: Workflow[Any]) -> None:
    """Install another version of the workflow."""
    registry.unregister(NAME)
    registry.register(made)


def golden_order(*fields: str, status: str = "completed", **params: Any) -> GoldenRun:
    """Return a golden run that went past the approval and the event, by its rows."""
    values = {"amount": 6.0, "limit": 5.0, **params}
    result = {**values, "amount": values["amount"] * 2, "payment": {"amount": 12.5}}
    run = make_run(
        workflow_name=NAME, params=values, result=result, status=status, sequence=4
    )
    path = ["price", "ask", "wait", "ship"]
    for number, name in enumerate(path, 1):
        make_stage(run, name, sequence=number)
    for number, (source, target) in enumerate(pairwise(path), 1):
        make_decision(run, source, target, sequence=number)
    make_approval(
        run, sequence=2, node_name="ask", status="answered",
        response={"outcome": "ship"}, responded_by=make_user(), responded_at=timezone.now(),
    )  # fmt: skip
    message = EventMessage.objects.create(
        workflow_name=NAME, name="paid", value={"amount": 12.5}, sender_name="bank"
    )
    EventWait.objects.create(
        run=run, sequence=3, workflow_name=NAME, node_name="wait", name="paid",
        status=EventWaitStatus.RECEIVED, message=message, closed_at=timezone.now(),
    )  # fmt: skip
    expected = Expectation(fields=[GoldenField(name) for name in fields])
    return system.mark_golden(run.pk, expected, by=None)


def texts(found: Comparison) -> list[str]:
    return [one.text for one in found.differences]


def test_a_rerun_receives_what_the_golden_run_received(workflow: Any) -> None:
    golden = golden_order("amount", "payment.amount")
    counts = [kind.objects.count() for kind in (Run, Stage, Approval, OutboxEvent)]
    found = compare(golden, Mode())
    assert (found.outcome, texts(found), found.message) == (GoldenOutcome.SAME, [], "")
    assert found.fingerprint == workflow.fingerprint
    assert [
        kind.objects.count() for kind in (Run, Stage, Approval, OutboxEvent)
    ] == counts


def test_differences_name_step_edge_and_field(workflow: Any) -> None:
    golden = golden_order("amount", "payment.amount", "limit")

    @node(name="price")
    async def cheaper(state: Order) -> Order:
        return state.set(amount=1.0)

    change(
        orders(
            start=cheaper,
            routes={
                cheaper: [when(is_small, ship), otherwise(ask)],
                ask: paid,
                paid: ship,
            },
        )
    )
    found = compare(golden, Mode())
    assert found.outcome == GoldenOutcome.DIFFERENT
    assert texts(found) == [
        "step 1, price: expected the edge to ask, took the edge to ship",
        "amount: expected 12.0, got 1.0",
        "payment.amount: expected 12.5, got no such field",
    ]
    again = Difference.of_json(json.loads(json.dumps(found.differences[0].as_json)))
    assert again == found.differences[0]


def test_a_failure_and_a_pause_without_a_record_are_differences(workflow: Any) -> None:
    golden = golden_order()

    @node(name="price")
    async def broken(state: Order) -> Order:
        raise SystemExit("no prices")

    change(orders(start=broken, routes={broken: ship}))
    status, step = texts(compare(golden, Mode()))
    assert "expected completed, got failed" in status
    assert "no prices" in status
    assert step == "step 1, price: expected the edge to ask, took no edge"
    Approval.objects.all().delete()
    change(orders())
    status, step = texts(compare(golden, Mode()))
    assert "waiting at ask, for which nothing is recorded: Ship it?" in status
    assert step == "step 2, expected ask, the run ended"


def test_what_cannot_be_rerun_is_not_compared(workflow: Any) -> None:
    golden = golden_order()

    @node(name="ship", effects="Sends a parcel.")
    async def send(state: Order) -> Order:
        return state

    change(orders(routes={price: send}))
    found = compare(golden, Mode())
    assert found.outcome == GoldenOutcome.UNKNOWN
    assert "ship” of golden-orders has effects outside of the run" in found.message
    assert compare(golden, Mode(allows_effects=True)).outcome == GoldenOutcome.DIFFERENT
    golden.run.params = {"amount": "many"}
    change(orders())
    assert "did not start with the params" in compare(golden, Mode()).message
    registry.unregister(NAME)
    assert "not found" in compare(golden, Mode()).message
    registry.register(orders())


def test_calls_without_a_recorded_answer_are_not_compared(workflow: Any) -> None:
    golden = golden_order()

    @node(name="price")
    async def asks(state: Order, runtime: Runtime) -> Order:
        await runtime.agents.chat("pricer", "How much?")
        return state

    change(orders(start=asks, routes={asks: ship}))
    found = compare(golden, Mode())
    assert found.outcome == GoldenOutcome.UNKNOWN
    assert "agent “pricer”" in found.message
    assert "--answers real" in found.message
    real = compare(golden, Mode(answers=AnswerSource.REAL))
    assert real.outcome == GoldenOutcome.DIFFERENT
    assert "no provider of agents is set up" in texts(real)[0]
    assert not AgentCall.objects.exists()


def test_recorded_answers_are_given_in_place_of_new_ones(workflow: Any) -> None:
    run = make_run(workflow_name=NAME, params={}, result={"amount": 7.0})
    sent = {"role": "user", "content": "How much?"}
    exchange = Exchange.begin(CallRequest("chat", "pricer", "How much?"), [sent])
    exchange.answer = "7"
    content = pack(exchange, NoMasks())
    content.run, content.node_name = run, "price"
    content.call = AgentCall.objects.create(
        run=run, sequence=1, attempt=1, kind="chat", agent_name="pricer",
        provider_name="p", model="m", latency_ms=1, status="completed",
    )  # fmt: skip
    content.save()

    @node(name="price")
    async def asks(state: Order, runtime: Runtime) -> Order:
        reply = await runtime.agents.chat("pricer", "How much?")
        return state.set(amount=float(reply.text))

    change(orders(start=asks, routes={asks: ship}))
    wanted = Expectation(checks_path=False, fields=[GoldenField("amount")])
    golden = system.mark_golden(run.pk, wanted, by=None)
    found = compare(golden, Mode())
    assert (found.outcome, found.message) == (GoldenOutcome.SAME, "")

    @node(name="price")
    async def asks_otherwise(state: Order, runtime: Runtime) -> Order:
        await runtime.agents.chat("pricer", "What is the price?")
        return state

    change(orders(start=asks_otherwise, routes={asks_otherwise: ship}))
    found = compare(golden, Mode())
    assert found.outcome == GoldenOutcome.UNKNOWN
    assert "the prompt differs from the recorded one" in found.message


def test_a_rerun_reads_documents_variables_resources_and_child_workflows(
    workflow: Any,
) -> None:
    document = make_document("a.txt", b"three words here")
    Variable.objects.create(name="golden_host", value="mail.example", workflows=[NAME])
    variables.forget()

    @resource
    def pool() -> Any:
        yield 7

    class Small(State):
        doubled: float = 0.0
        amount: float = 0.0

    @node
    def double(state: Small) -> Small:
        return state.set(doubled=state.amount * 2)

    child = Workflow("golden-child", state=Small, start=double, routes={})

    class Big(State):
        child: dict[str, Any] | None = None
        host: str = ""
        size: int = 0
        pool: int = 0
        file: str = ""

    @node
    async def read(state: Big, runtime: Runtime) -> Big:
        content = await runtime.documents.read(document.pk)
        made = await runtime.documents.add("copy.txt", content)
        return state.set(
            host=runtime.variables["golden_host"],
            size=len(await runtime.documents.read(made)),
            pool=runtime.get(pool),
        )

    call = subworkflow(
        child, params=lambda _: {"amount": 4.0}, into="child", name="call"
    )
    change(Workflow(NAME, state=Big, start=read, routes={read: call}, resources=[pool]))
    run = make_run(
        workflow_name=NAME,
        result={"host": "x", "size": 16, "pool": 7, "child": {"doubled": 8.0}},
        params={},
    )
    fields = [GoldenField(name) for name in ("host", "size", "pool", "child.doubled")]
    wanted = Expectation(checks_path=False, fields=fields)
    found = compare(system.mark_golden(run.pk, wanted, by=None), Mode())
    assert texts(found) == ['host: expected "x", got "mail.example"'], found.message


async def test_a_run_of_a_worker_repeats_itself(workflow: Any) -> None:
    async with working():
        run = await run_in_db(lambda: system.execute(NAME, {"amount": 1.0}))
        run = await ended(run.pk)
    assert run.result is not None
    fields = [GoldenField("amount", 0.5)]

    def compared() -> Comparison:
        golden = system.mark_golden(run.pk, Expectation(fields=fields), by=None)
        return compare(golden, Mode())

    assert (await run_in_db(compared)).outcome == GoldenOutcome.SAME


# The command ----------------------------------------------------------------------------


def command(*words: str) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    out, errors, code = StringIO(), StringIO(), 0
    try:
        call_command("golden", *words, stdout=out, stderr=errors)
    except SystemExit as ending:
        code = int(str(ending.code))
    return code, out.getvalue(), errors.getvalue()


def test_the_command_reports_and_stores_the_results(
    workflow: Any, tmp_path: Path
) -> None:
    golden, other = golden_order("amount"), golden_order("amount", amount=9.0)
    code, text, _ = command(NAME)
    assert code == 0
    assert f"Same: {NAME} {golden.run_id} (main)" in text
    assert "2 same, 0 different, 0 not compared" in text
    Run.objects.filter(pk=other.run_id).update(result={"amount": 1.0})
    target = tmp_path / "golden.xml"
    words = ("--format", "junit", "--output", str(target), "--profile", "")
    code, text, _ = command(NAME, "--dataset", "Main", *words)
    assert (code, text) == (1, "")
    suite = ET.fromstring(target.read_text())  # noqa: S314 - of this test
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "amount: expected 1.0, got 18.0"
    code, text, _ = command("--format", "json")
    rows = json.loads(text)["golden_runs"]
    assert [row["outcome"] for row in rows] == ["same", "different"]
    assert rows[1]["differences"][0]["field"] == "amount"
    assert GoldenResult.objects.count() == 2
    assert GoldenResult.objects.get(golden=other).outcome == "different"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "Workflow “nothing” not found"),
        ([], "no such golden runs"),
        (["--dataset", " " * 3], "1 to 60 characters"),
    ],
)
def test_bad_input_exits_with_2(words: list[str], message: str) -> None:
    code, _, errors = command(*words)
    assert code == 2
    assert message in errors


def test_an_unknown_profile_is_reported_for_each_run(workflow: Any) -> None:
    golden_order()
    code, text, _ = command("--profile", "quick")
    assert code == 1
    assert "has no profile “quick”" in text
