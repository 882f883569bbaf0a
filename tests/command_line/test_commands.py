"""The commands of `signalbox`, their exit codes and what they print."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from pydantic import BaseModel

from project.env import ROOT
from signalbox import servers, values
from tests.command_line.conftest import SERVER, Shell
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import (
    make_approval,
    make_decision,
    make_line,
    make_run,
    make_stage,
    make_whole_run,
)
from workflows.engine import State, Workflow, event
from workflows.execution.approval_escalations import declare
from workflows.models import Level, Run, Status
from workflows.registry import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
LAUNCH = ("launch", "classify-document")


def end(run: Run, status: str) -> None:
    """End a run, whatever it did before."""
    changes = {"status": status, "completed_at": timezone.now(), "version": 50}
    Run.objects.filter(pk=run.pk).update(lease_expires_at=None, **changes)


# Launch -----------------------------------------------------------------------------


def test_launch_sends_params_of_options_and_of_a_file(
    shell: Shell, tmp_path: Path
) -> None:
    pdf = tmp_path / "order.pdf"
    pdf.write_bytes(many_pages(1))
    (tmp_path / "params.json").write_text('{"threshold": 0.5, "document": "replaced"}')
    run = shell.json(
        *LAUNCH,
        *("--params-file", str(tmp_path / "params.json"), "--param", "threshold=0.7"),
        *("--file", f"document={pdf}", "--key", "order-7", "--priority", "5"),
        *("--deadline", "2h"),
    )
    stored = Run.objects.get(pk=run["id"])
    assert stored.params["threshold"] == 0.7
    assert stored.params["document"] != "replaced"
    assert (stored.idempotency_key, stored.priority) == ("order-7", 5)
    assert stored.deadline_at is not None
    assert stored.deadline_at - stored.created_at == dt.timedelta(hours=2)
    again = (*LAUNCH, "--param", f"document={stored.params['document']}")
    assert shell.json(*again, "--key", "order-7", code=2)["code"] == "key_reused"


def test_a_launch_whose_response_is_lost_is_repeated_with_its_key(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "order.pdf").write_bytes(many_pages(1))
    document = f"document={tmp_path / 'order.pdf'}"
    lost: list[httpx.Request] = []

    def lose(request: httpx.Request) -> None:
        if request.url.path.endswith("/runs") and not lost:
            lost.append(request)
            again = httpx.Request(
                "POST", request.url, headers=request.headers, content=request.read()
            )
            shell.transport.handle_request(again)
            raise httpx.ReadError("the connection was reset")

    shell.transport.before = lose
    shell.run(*LAUNCH, "--file", document)
    assert Run.objects.count() == 1
    assert shell.waits == [1.0]


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "inf", "2 w", "h"])
def test_a_deadline_that_is_no_time_is_refused(shell: Shell, text: str) -> None:
    if text:
        shell.run(*LAUNCH, "--deadline", text, code=2)
        assert f"“{text}” is not a time: use --deadline" in shell.errors
    assert values.seconds("90", "--deadline") == 90
    assert values.seconds("1.5m", "--deadline") == 90
    assert values.seconds("1d", "--deadline") == 86_400
    assert Run.objects.count() == 0


def test_invalid_params_are_named(shell: Shell) -> None:
    shell.run(*LAUNCH, "--param", "threshold=high", code=2)
    assert "threshold: " in shell.errors
    problem = shell.json(*LAUNCH, "--param", "threshold=high", code=2)
    assert problem["code"] == "invalid_params"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--param", "threshold"], "is not KEY=VALUE"),
        (["--file", "document=/nowhere/order.pdf"], "can’t be read"),
        (["--params-file", "/nowhere/params.json"], "can’t be read"),
        (["--params-file", "LIST"], "must be a JSON object"),
        (["--params", "[1]"], "--params must be a JSON object"),
        (["--params", "{"], "is not valid JSON"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused_before_a_request(
    shell: Shell, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "list.json").write_text("[]")
    given = [str(tmp_path / "list.json") if a == "LIST" else a for a in arguments]
    shell.run(*LAUNCH, *given, code=2)
    assert words in shell.errors
    assert shell.transport.requests == []


# Follow -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("failed", 1), ("waiting", 3), ("cancelled", 4)],
)
def test_wait_exits_with_the_code_of_the_status(
    shell: Shell, tmp_path: Path, status: str, code: int
) -> None:
    (tmp_path / "order.pdf").write_bytes(many_pages(1))

    def finish(request: httpx.Request) -> None:
        if not request.url.path.endswith("/events"):
            return
        run = Run.objects.get()
        if status == "waiting":
            waiting = {"waiting_for": "approval", "waiting_node": "review"}
            Run.objects.update(status=status, version=9, **waiting)
        else:
            end(run, status)

    shell.transport.before = finish
    arguments = (*LAUNCH, "--file", f"document={tmp_path / 'order.pdf'}", "--wait")
    assert shell.json(*arguments, code=code)["status"] == status


def test_follow_continues_after_lost_connections_without_repetition(
    shell: Shell,
) -> None:
    run = make_run(status=Status.RUNNING)
    steps = iter(range(1, 100))
    count = 0

    def work(request: httpx.Request) -> None:
        nonlocal count
        if not request.url.path.endswith("/events"):
            return
        count += 1
        if count == 3:
            raise httpx.ReadTimeout("nothing was received")
        if count == 6:
            end(run, Status.COMPLETED)
        make_line(run, f"line {next(steps)}")
        Run.objects.filter(pk=run.pk, version__lt=50).update(version=count + 1)

    shell.transport.before = work
    printed = shell.run("logs", str(run.pk), "-f").splitlines()
    assert [line.split()[-1] for line in printed] == ["1", "2", "3", "4", "5"]
    assert "Connection lost" in shell.errors
    assert shell.waits == [2.0, 2.0, 1.0, 2.0, 2.0]


def test_an_interrupted_follow_leaves_the_run(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "order.pdf").write_bytes(many_pages(1))

    def interrupt(request: httpx.Request) -> None:
        if request.url.path.endswith("/events"):
            raise KeyboardInterrupt

    shell.transport.before = interrupt
    document = f"document={tmp_path / 'order.pdf'}"
    shell.run(*LAUNCH, "--file", document, "--follow", code=130)
    run = Run.objects.get()
    assert run.status == Status.PENDING
    assert f"signalbox cancel {run.pk}" in shell.errors


# Reading and acting -----------------------------------------------------------------


def test_runs_are_listed_over_pages(shell: Shell) -> None:
    failed = [make_run(status=Status.FAILED) for _ in range(3)]
    make_run()
    found = shell.json("runs", "--status", "failed", "--limit", "2")
    assert [one["id"] for one in found] == [str(run.pk) for run in failed[:0:-1]]
    assert str(failed[2].pk) in shell.run("runs", "--workflow", "classify-document")


def test_a_run_is_shown_with_its_steps_decisions_and_log(shell: Shell) -> None:
    run = make_whole_run(status=Status.COMPLETED)
    make_line(run, "\x1b[31mred\x1b[0m", level=Level.ERROR, sequence=4)
    assert "1. read_pages: completed in 0.1 s" in shell.run("show", str(run.pk))
    assert "weigh → publish" in shell.run("decisions", str(run.pk))
    printed = shell.run("logs", str(run.pk), "--level", "error")
    assert "\\x1b[31mred" in printed
    assert "\x1b" not in printed
    assert len(shell.json("decisions", str(run.pk))) == run.decisions.count()
    lines = shell.run("logs", str(run.pk), "--json").splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4, 5]


def test_actions_change_a_run(shell: Shell) -> None:
    run = make_run(status=Status.PENDING)
    reason = ("--reason", "Wrong input file.")
    assert "is cancelled" in shell.run("cancel", str(run.pk), *reason)
    shell.run("cancel", str(run.pk), *reason, code=2)
    assert shell.errors.startswith("Run ")
    shell.run("show", str(uuid4()), code=2)
    assert "not found" in shell.errors


def test_a_response_is_changed_in_a_fork_or_refused_by_the_server(shell: Shell) -> None:
    run = make_whole_run()
    given = ("--value", "outcome=publish", "--reason", "The banner was misread.")
    shell.run("change-response", str(run.pk), "1", *given, code=2)
    assert "has no approval that a person responded to" in shell.errors


def test_an_approval_is_shown_and_answered(shell: Shell) -> None:
    approval = make_approval(node_name="ask_reviewer")
    run = str(approval.run_id)
    shown = shell.run("respond", run)
    assert approval.question in shown
    assert "--value outcome=…" in shown
    shell.run("respond", run, "--value", "outcome=nonsense", code=2)
    shell.run("respond", run, "--value", "outcome=publish", "--reason", "Checked.")
    approval.refresh_from_db()
    assert (approval.status, approval.comment) == ("answered", "Checked.")


def test_an_approval_is_claimed_reassigned_and_reminded_of(shell: Shell) -> None:
    run = str(make_approval(node_name="ask_reviewer").run_id)
    name = get_user_model().objects.get().get_username()
    assert f"Claimed by: {name}" in shell.run("claim", run)
    assert f"Assigned to: {name}" in shell.run("reassign", run, name)
    assert "Claimed by: no one\nAssigned to: no one" in shell.run("release", run)
    assert shell.run("remind", run) == "Reminder sent.\n"
    shell.run("remind", run, code=2)
    assert "sent a reminder already" in shell.errors


def test_an_approval_is_snoozed_and_shown_again(shell: Shell) -> None:
    run = str(make_approval(node_name="ask_reviewer").run_id)
    assert "Hidden until 20" in shell.run("snooze", run, "--for", "3d")
    assert shell.json("snooze", run, "--end")["until"] is None
    shell.run("snooze", run, "--for", "4 weeks", code=2)
    assert "is not a time: use --for" in shell.errors
    shell.run("snooze", run, "--for", "99999999d", code=2)
    assert "longer than the calendar" in shell.errors


def test_an_approval_is_escalated(shell: Shell) -> None:
    approval = make_approval(node_name="ask_reviewer")
    run = str(approval.run_id)
    shell.run("escalate", run, code=2)
    assert "goes to no other group" in shell.errors
    declare(approval, timezone.now() + dt.timedelta(hours=1), "leads")
    assert "Escalated to: leads" in shell.run("escalate", run)


def test_several_approvals_are_given_one_response(shell: Shell) -> None:
    runs = [str(make_approval(node_name="ask_reviewer").run_id) for _ in range(2)]
    given = ("--value", "outcome=publish", "--reason", "Checked.")
    shown = shell.run("respond-to-several", *runs, *given)
    assert shown == "".join(f"{run}: saved\n" for run in runs)
    shown = shell.run("respond-to-several", runs[0], *given, code=2)
    assert "not saved: Already answered" in shown


def test_an_excluded_person_reads_why_they_cannot_respond(shell: Shell) -> None:
    approval = make_approval(
        node_name="ask_reviewer",
        not_by="launcher",
        excluded=list(get_user_model().objects.values_list("pk", flat=True)),
        votes_needed=2,
    )
    run = str(approval.run_id)
    shown = shell.run("respond", run)
    assert "0 of 2 responses: nobody yet" in shown
    assert "You launched this run: someone else has to respond." in shown
    assert "--value" not in shown
    given = ("--value", "outcome=publish", "--reason", "Checked.")
    shell.run("respond", run, *given, code=2)
    approval.refresh_from_db()
    assert approval.status == "open"


def test_workflows_and_schedules_are_listed(shell: Shell) -> None:
    names = [one["name"] for one in shell.json("workflows")]
    assert "classify-document" in names
    assert shell.json("schedules") == []
    assert "NAME" in shell.run("schedules")


# Servers ----------------------------------------------------------------------------


def test_a_login_is_checked_and_stored_for_its_owner_only(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = os.environ["SIGNALBOX_TOKEN"]
    monkeypatch.delenv("SIGNALBOX_TOKEN")
    monkeypatch.delenv("SIGNALBOX_URL")
    login = ("login", SERVER, "--name", "test", "--token-stdin")
    shell.run(*login, stdin="sbx_wrong", code=2)
    assert not servers.config_file().exists()
    shell.run("workflows", code=2)
    assert "signalbox login" in shell.errors
    shell.run(*login, stdin=secret + "\n")
    path = servers.config_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret in path.read_text()
    assert "classify-document" in shell.run("workflows")
    assert shell.json("server", "list") == [
        {"name": "test", "url": SERVER, "default": True}
    ]
    path.chmod(0o644)
    shell.run("workflows", code=2)
    assert "can be read by others" in shell.errors
    path.chmod(0o600)
    shell.run("server", "remove", "test")
    assert secret not in path.read_text()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://runs.example.org", "unencrypted"),
        ("runs.example.org", "is not the URL"),
        ("https://user:secret@runs.example.org", "is not the URL"),
    ],
)
def test_a_url_that_endangers_the_token_is_refused(
    shell: Shell, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNALBOX_URL", url)
    shell.run("workflows", code=2)
    assert words in shell.errors
    assert shell.transport.requests == []


def test_an_unreachable_server_and_a_wrong_one_are_named(shell: Shell) -> None:
    def refuse(_: httpx.Request) -> None:
        raise httpx.ConnectError("Connection refused")

    shell.transport.before = refuse
    shell.run("workflows", code=5)
    assert f"{SERVER} can’t be reached: Connection refused." in shell.errors
    assert shell.waits == [1.0, 2.0, 4.0]


def test_a_busy_server_is_waited_for_as_it_asks(
    shell: Shell, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(
        [httpx.Response(503, headers={"Retry-After": "3"}), httpx.Response(429)]
    )
    handle = shell.transport.handle_request

    def busy(request: httpx.Request) -> httpx.Response:
        found: Any = next(answers, None)
        return found or handle(request)

    monkeypatch.setattr(shell.transport, "handle_request", busy)
    make_stage(make_run())
    make_decision(make_run())
    assert "classify-document" in shell.run("workflows")
    assert shell.waits == [3.0, 2.0]


class Payment(BaseModel):
    amount: int


@pytest.fixture
def _paid_orders() -> Iterator[None]:
    """Register a workflow that waits for the event of the documentation."""
    paid = event("payment", Payment, into="payment", name="paid")
    registry.register(Workflow("paid-orders", state=State, start=paid, routes={}))
    yield
    registry.unregister("paid-orders")


@pytest.mark.usefixtures("_paid_orders")
def test_the_commands_of_the_documentation_are_accepted(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "integrating.md").read_text()
    lines = re.findall(r"^(signalbox .*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(lines) == 12
    (tmp_path / "order.pdf").write_bytes(many_pages(1))
    monkeypatch.chdir(tmp_path)
    shell.transport.before = lambda request: (
        Run.objects.filter(status="pending").update(
            status="waiting", waiting_for="approval", waiting_node="x"
        )
        if request.url.path.endswith("/events")
        else None
    )
    codes = {"launch": 3}
    for line in lines:
        name = shlex.split(line)[1]
        approval = make_approval(node_name="ask_reviewer")
        words = shlex.split(line.replace("RUN", str(approval.run_id)))[1:]
        if name == "login":
            words = ["login", SERVER, "--token-stdin"]
        if name == "logs":
            end(approval.run, Status.COMPLETED)
        shell.run(
            *words, code=codes.get(name, 0), stdin=os.environ["SIGNALBOX_TOKEN"] + "\n"
        )
