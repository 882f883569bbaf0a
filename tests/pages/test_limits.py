"""Size limits: input over a limit is rejected with a message and stores nothing."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse

from project import vulnerability_check
from tests.project.test_server import UPGRADE, Running, start
from tests.support.factories import make_run
from tests.support.workers import ended, working
from workflows.engine import State, Workflow, node
from workflows.errors import InvalidParams
from workflows.infra.database_threads import run_in_db
from workflows.infra.text import clean
from workflows.models import LogLine, Run, Status
from workflows.registry import Registry
from workflows.system import System

SignIn = Callable[[User], Client]
__all__ = ["start"]  # a fixture of the server's tests


# Forms ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/accounts/login/", "/admin/login/", "/runs/bulk/"]
)
def test_a_form_that_is_too_large_is_refused_with_a_message(
    alice: User, sign_in: SignIn, address: str
) -> None:
    long = {"username": "a" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)}
    answer = sign_in(alice).post(address, long, content_type=FORM)
    text = " ".join(answer.content.decode().split())
    assert answer.status_code == 413
    assert "Up to 2,500 kB without files" in text
    assert "Nothing was saved" in text


FORM = "application/x-www-form-urlencoded"


def test_an_open_page_shows_the_error_in_its_messages(
    alice: User, sign_in: SignIn
) -> None:
    run = make_run()
    answer = sign_in(alice).post(
        reverse("run-note", args=[run.pk]),
        "text=" + "a" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1),
        content_type=FORM,
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 413
    assert "hx-swap-oob" in answer.content.decode()
    assert not run.notes.exists()


def test_a_form_with_too_many_fields_or_files_is_refused_too(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    fields = {f"f{n}": "" for n in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1)}
    files = {
        f"f{n}": SimpleUploadedFile("a.pdf", b"%PDF")
        for n in range(settings.DATA_UPLOAD_MAX_NUMBER_FILES + 1)
    }
    for form in (fields, files):
        assert client.post(reverse("documents"), form).status_code == 413


# Values -----------------------------------------------------------------------------


def untyped_registry(*functions: Any, name: str = "free") -> Registry:
    """Return a registry with a workflow without typed params."""

    @node
    def begin(state: State) -> State:
        return state

    steps = functions or (begin,)
    routes = dict(itertools.pairwise(steps))
    registry = Registry()
    registry.register(Workflow(name, state=State, start=steps[0], routes=routes))
    return registry


@pytest.mark.django_db
@override_settings(MAX_PARAMS_BYTES=2_000)
def test_values_that_are_too_long_are_refused_before_anything_is_queued(
    alice: User,
) -> None:
    with pytest.raises(InvalidParams, match="up to 2,000 are taken"):
        System(untyped_registry()).execute("free", {"text": "a" * 2_000}, by=alice)
    assert not Run.objects.exists()


@override_settings(MAX_PARAMS_BYTES=2_000)
def test_the_launch_form_shows_the_limit(alice: User, sign_in: SignIn) -> None:
    form = {"params.threshold": "0.8", "text": "a" * 3_000, "prompt": "a" * 3_000}
    answer = sign_in(alice).post("/workflows/reasoning/", form)
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_line_that_is_too_long_is_truncated_with_a_notice() -> None:
    with override_settings(MAX_LINE_CHARS=300):
        assert clean("a" * 301) == "a" * 300 + "… (301 characters in all)"
        assert clean("a" * 300) == "a" * 300


# States -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_state_over_the_size_limit_fails_the_run(
    alice: User, settings: Any
) -> None:
    settings.MAX_STATE_BYTES = 10_000
    settings.POLL_INTERVAL_SECONDS = 0.05

    @node
    def small(state: State) -> State:
        return state.set(text="a" * 6_000)

    @node
    def large(state: State, runtime: Any) -> State:
        runtime.logger.info("growing")
        return state.set(more="a" * 6_000)

    registry = untyped_registry(small, large, name="growing")
    launched = await run_in_db(System(registry).execute, "growing", by=alice)
    async with working(registry):
        run = await ended(launched.pk)
    assert run.status == Status.FAILED
    assert run.error_code == "checkpoint_save_failed"
    assert run.error_node == "large"
    assert "up to 10,000 are kept (MAX_STATE_BYTES)" in run.error_message
    assert run.sequence == 1, "the previous checkpoint can be resumed"
    assert await run_in_db(LogLine.objects.filter(run=run).count) == 1


# Messages of pages ------------------------------------------------------------------


@pytest.mark.crash
def test_a_message_that_is_too_long_closes_its_socket(
    start: Callable[..., Running],
) -> None:
    server = start()  # with up to 1,000 bytes
    header = b"\x81\xfe" + (1_001).to_bytes(2, "big") + b"\0\0\0\0"
    with server.connect(UPGRADE) as client:
        assert next(server.lines) == "open"
        client.sendall(header + b"a" * 1_001)
        assert next(server.lines) == "closed 1009", "the message was not delivered"


# Vulnerability check ----------------------------------------------------------------


def exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, output: str) -> int:
    """Return the exit code of the vulnerability check for an output of pip-audit."""
    monkeypatch.setattr(vulnerability_check, "CACHE", tmp_path / "seen")
    code = f"import sys; sys.stdout.write({output!r})"
    monkeypatch.setattr(vulnerability_check, "COMMAND", (sys.executable, "-c", code))
    return vulnerability_check.main()


def audited(*vulnerabilities: str) -> str:
    """Return an output of pip-audit with vulnerabilities of a package."""
    vulns = [{"id": one} for one in vulnerabilities]
    package = {"name": "pillow", "version": "1.0", "vulns": vulns}
    skipped = {"name": "django", "skip_reason": "not found"}
    return json.dumps({"dependencies": [package, skipped]})


def test_a_known_vulnerability_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any
) -> None:
    assert exit_code(monkeypatch, tmp_path, audited("CVE-1", "CVE-2")) == 1
    assert "pillow 1.0: CVE-1, CVE-2" in capsys.readouterr().out


def test_a_vulnerability_check_is_cached_for_the_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any
) -> None:
    assert exit_code(monkeypatch, tmp_path, audited()) == 0
    assert "none is known of 1 of 2 packages" in capsys.readouterr().out
    assert exit_code(monkeypatch, tmp_path, audited("CVE-1")) == 0
    assert "checked today" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "no list of them can be reached from here"),
        ('{"dependencies": [{"name": "a"}]}', "knows none of our packages"),
    ],
)
def test_without_the_network_the_check_is_skipped_with_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any, output: str, why: str
) -> None:
    assert exit_code(monkeypatch, tmp_path, output) == 0
    message = capsys.readouterr().out
    assert "skipped" in message
    assert why in message
    assert not (tmp_path / "seen").exists()
