"""Traces of requests, launches, runs, steps, tries and calls of agents."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User
from django.test import Client
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django import Settings

from project import telemetry
from project.log import JsonFormatter
from tests.crash.processes import Installation, wait_for
from tests.support.agent_rows import make_agent
from tests.support.openai_server import ModelServer
from tests.support.servers import running_server
from tests.support.workers import ended, working
from workflows.engine import Retry, State, Workflow, node, subworkflow
from workflows.infra import log_context
from workflows.infra.database_threads import run_in_db
from workflows.infra.tracing import tracing
from workflows.models import Run
from workflows.registry import Registry, registry
from workflows.runtime import Runtime
from workflows.system import System, system

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
lines: list[str] = []


class Talk(State):
    """State of the traced workflows."""

    result: str = ""


tries: list[int] = []


@node(retry=Retry(attempts=2, on=ValueError, wait=0))
async def greet(state: Talk, runtime: Runtime) -> Talk:
    tries.append(1)
    if len(tries) == 1:
        raise ValueError("secret value")
    reply = await runtime.agents.chat("writer", "Hello?")
    log_in_node()
    return state.set(result=reply.text)


@node
async def refuse(state: Talk) -> Talk:
    raise KeyError("secret value")


def log_in_node() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "in %s", ("node",), None)
    lines.append(JsonFormatter().format(record))


GREETING = Workflow("traced", state=Talk, start=greet, routes={greet: refuse})


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Turn tracing on, with an exporter in memory."""
    found = InMemorySpanExporter()
    provider = telemetry.start(found)
    yield found
    tracing.tracer = None
    provider.shutdown()


def spans_of(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Return the exported spans by name."""
    provider = trace_provider()
    provider.force_flush()
    return {one.name: one for one in exporter.get_finished_spans()}


def trace_provider() -> Any:
    return tracing.tracer.span_processor  # type: ignore[union-attr]


@pytest.mark.django_db(transaction=True)
async def test_a_run_is_a_tree_of_spans_down_to_the_call_of_an_agent(
    exporter: InMemorySpanExporter,
) -> None:
    workflows = Registry()
    workflows.register(GREETING)
    tries.clear()
    lines.clear()
    with ModelServer() as server:
        await run_in_db(make_agent, server)
        run = await run_in_db(System(workflows).execute, "traced")
        async with working(workflows):
            run = await ended(run.pk)
        sent = server.requests[0].headers["traceparent"]
    spans = spans_of(exporter)
    names = ["launch traced", "run traced", "step greet", "step refuse", "chat tiny"]
    assert set(spans) == {*names, "try 1", "try 2"}
    parents = {"run traced": "launch traced", "step greet": "run traced"}
    parents |= {"chat tiny": "step greet", "try 1": "step greet"}
    for child, parent in parents.items():
        given = spans[child].parent
        assert given is not None
        assert given.span_id == spans[parent].context.span_id, child
    assert sent.split("-")[2] == f"{spans['chat tiny'].context.span_id:016x}"
    attributes = spans["chat tiny"].attributes or {}
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.usage.output_tokens"] == 5
    assert (
        run.traceparent.split("-")[1] == f"{spans['run traced'].context.trace_id:032x}"
    )
    for name in ("try 1", "step refuse", "run traced"):
        assert spans[name].status.status_code == trace.StatusCode.ERROR, name
    assert "secret value" not in "".join(one.to_json() for one in spans.values())
    line = json.loads(lines[0])
    assert line["trace_id"] == f"{spans['run traced'].context.trace_id:032x}"
    assert line["span_id"] == f"{spans['step greet'].context.span_id:016x}"
    assert (line["run"], line["node"], line["message"]) == (
        str(run.pk),
        "greet",
        "in node",
    )


@pytest.mark.django_db
def test_a_request_continues_the_trace_of_its_client(
    alice: User, client: Client, exporter: InMemorySpanExporter
) -> None:
    registry.register(GREETING)
    try:
        client.force_login(alice)
        client.post("/workflows/traced/", headers={"traceparent": PARENT})
        run = Run.objects.get()
    finally:
        registry.unregister("traced")
    assert run.traceparent.split("-")[1] == TRACE
    spans = spans_of(exporter)
    web = spans["POST /workflows/<str:name>/"]
    assert f"{web.context.trace_id:032x}" == TRACE
    assert (web.attributes or {})["http.response.status_code"] == 302
    parent = spans["launch traced"].parent
    assert parent is not None
    assert parent.span_id == web.context.span_id
    client.get("/", headers={"traceparent": "00-x"})
    client.get("/health/live")
    assert "GET /" in spans_of(exporter)


@pytest.mark.django_db(transaction=True)
async def test_nothing_of_opentelemetry_is_called_while_tracing_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def called(*_: Any, **__: Any) -> None:
        raise AssertionError("OpenTelemetry was called.")

    for name in ("get_current_span", "use_span", "set_span_in_context", "get_tracer"):
        monkeypatch.setattr(trace, name, called)
    workflows = Registry()
    workflows.register(GREETING)
    with ModelServer() as server:
        await run_in_db(make_agent, server)
        run = await run_in_db(System(workflows).execute, "traced")
        async with working(workflows):
            run = await ended(run.pk)
        assert "traceparent" not in server.requests[0].headers
    assert run.traceparent == ""


@pytest.mark.django_db
def test_an_outage_of_the_collector_is_logged_once_and_hurts_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OTLP_ENDPOINT = "http://127.0.0.1:9"  # refuses connections
    workflow = Workflow("alone", state=Talk, start=refuse, routes={})
    registry.register(workflow)
    try:
        with caplog.at_level("WARNING"), telemetry.exporting_traces():
            for _ in range(2):
                system.execute("alone")
                trace_provider().force_flush()
    finally:
        registry.unregister("alone")
    assert Run.objects.count() == 2
    assert caplog.text.count("does not accept traces") == 1
    assert tracing.tracer is None


def test_a_json_line_has_the_exception_and_no_empty_names() -> None:
    error = ValueError("broken\nline")
    info = (type(error), error, None)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "a\nb", (), info)
    token = log_context.RUN.set("r-1")
    text = JsonFormatter().format(record)
    log_context.RUN.reset(token)
    assert "\n" not in text
    found = json.loads(text)
    assert set(found) == {"time", "level", "logger", "message", "run", "exception"}
    assert found["message"] == "a\nb"
    assert "ValueError: broken" in found["exception"]


# Across processes -----------------------------------------------------------------------


class Collector(ThreadingHTTPServer):
    """An OTLP receiver."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: dict[str, Any] = {}
        self.services: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def has(self, *names: str) -> bool:
        return all(any(one.startswith(name) for one in self.spans) for name in names)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            data = gzip.decompress(data)
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            attributes = {
                one.key: one.value.string_value for one in resource.resource.attributes
            }
            self.server.services.add(attributes["service.instance.id"])
            for scope in resource.scope_spans:
                self.server.spans.update({one.name: one for one in scope.spans})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.timeout(300)
def test_a_trace_goes_from_the_web_process_to_the_worker(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    collector = Collector()
    options = {"OTLP_ENDPOINT": collector.url, "OTLP_SECONDS": "0.2"}
    installation = Installation(
        tmp_path, database=migrated_url, redis=redis_url, LOG_FORMAT="json", **options
    )
    home = tmp_path / "web"
    home.mkdir()
    code = (
        "from django.contrib.auth.models import User\n"
        "from workflows.access import tokens\n"
        "user = User.objects.create_superuser('root')\n"
        "print(tokens.create(user, 't', by=user, scopes=['admin'])[1])"
    )
    secret = installation.manage("shell", "-c", code).split()[-1]
    with running_server(home, **installation.settings) as server:
        body = json.dumps({"params": {"trace": str(installation.trace), "rounds": 1}})
        request = HttpRequest(  # noqa: S310 - of a server of this test
            f"{server.url.rstrip('/')}/api/v1/workflows/count/runs",
            body.encode(),
            {
                "Authorization": f"Bearer {secret}",
                "Content-Type": "application/json",
                "traceparent": PARENT,
            },
        )
        with urlopen(request) as response:  # noqa: S310 - likewise
            assert response.status == 202
        with installation.worker("one"):
            wait_for(
                partial(collector.has, "POST ", "launch count", "run count", "step "),
                what="spans of both processes",
            )
    collector.shutdown()
    collector.server_close()
    traced = [one for one in collector.spans.values() if one.trace_id.hex() == TRACE]
    assert {one.name.split()[0] for one in traced} >= {"POST", "launch", "run", "step"}
    assert len(collector.services) == 2
    run, launch = collector.spans["run count"], collector.spans["launch count"]
    assert run.parent_span_id == launch.span_id
    for line in (home / "serve.log").read_text().splitlines():
        assert json.loads(line)["level"]


@pytest.mark.django_db(transaction=True)
async def test_the_trace_of_a_child_run_continues_that_of_its_parents_step(
    exporter: InMemorySpanExporter,
) -> None:
    @node
    async def inside(state: State) -> State:
        return state

    child = Workflow("inner", state=State, start=inside, routes={})
    call = subworkflow(child, {}, into="found", name="call")
    workflows = Registry()
    workflows.register(Workflow("outer", state=State, start=call, routes={}))
    run = await run_in_db(System(workflows).execute, "outer")
    async with working(workflows):
        run = await ended(run.pk)
    assert run.status == "completed", run.error_message
    trace_provider().force_flush()
    spans = exporter.get_finished_spans()
    (step,) = [
        one
        for one in spans
        if one.name == "step call"
        and one.end_time == min(s.end_time for s in spans if s.name == "step call")  # type: ignore[type-var]
    ]
    inner = spans_of(exporter)["run inner"]
    assert inner.parent is not None
    assert inner.parent.span_id == step.context.span_id
    assert {one.context.trace_id for one in spans} == {step.context.trace_id}
