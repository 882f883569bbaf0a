"""A run's history as a signed bundle, verified without Signalbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from project.env import ROOT
from tests.support.sealed_runs import Step, sealed_run
from workflows.audit.bundle_export import pieces, public_key
from workflows.audit.bundle_format import InvalidBundle, not_as_signed, read
from workflows.models import Run, Stage, WorkflowPermission
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def run(alice: User) -> Run:
    """Return a run with steps, decisions and audit events."""
    steps = [
        Step("read", decided_by=alice.pk, comment="“gelesen”\n"),
        Step("weigh", ("a", "b"), {"x": 1e22, "y": 2.5, "z": [1.0, -0.0, 2**70]}),
    ]
    made = sealed_run(steps, by=alice)
    system.label(made.pk, "audit", by=alice, reason="to be looked at")
    return made


def bundle(run: Run) -> dict[str, Any]:
    return read("".join(pieces(run)))


def verify(*given: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as one would elsewhere: without settings or a database."""
    bare = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgres://nowhere/none"}
    return subprocess.run(
        [sys.executable, "-m", "workflows.audit.verify_bundle", *map(str, given)],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bundle_is_verified_without_django_or_a_database(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    out = StringIO()
    call_command("export_history", str(run.pk), to=file, stdout=out)
    key = StringIO()
    call_command("history_key", stdout=key)
    assert f"--key {key.getvalue().strip()}" in out.getvalue()
    came = verify(file, "--key", key.getvalue().strip())
    assert (came.returncode, came.stderr) == (0, "")
    assert f"Run {run.pk}: 8 rows verified, as signed" in came.stdout
    file.write_text(file.read_text().replace('"weigh"', '"waive"'))
    came = verify(file, "--key", key.getvalue().strip())
    assert came.returncode == 1
    assert "of step 2: it was changed" in came.stdout
    assert verify(tmp_path / "none.json", "--key", "00").returncode == 2


def test_verifying_imports_no_django() -> None:
    code = (
        "import sys, workflows.audit.verify_bundle;"
        "sys.exit(any(name.split('.')[0] in ('django', 'psycopg') for name in sys.modules))"
    )
    came = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert came.returncode == 0


def test_a_bundle_has_the_run_and_all_its_rows(run: Run, alice: User) -> None:
    exported = bundle(run)
    assert exported["run"]["id"] == str(run.pk)
    assert [row["node"] for row in exported["stages"]] == ["read", "weigh"]
    assert exported["decisions"][0]["decided_by"] == "alice"
    assert exported["decisions"][0]["comment"] == "“gelesen”\n"
    assert [row["action"] for row in exported["interventions"]] == ["launch", "label"]
    assert list(not_as_signed(exported, public_key())) == []


def changes() -> dict[str, Callable[[dict[str, Any]], object]]:
    """Return what one could do to a bundle."""

    def swap(exported: dict[str, Any]) -> None:
        rows = exported["decisions"]
        rows[0], rows[1] = rows[1], rows[0]

    return {
        "run": lambda exported: exported["run"].update(status="failed"),
        "stage": lambda exported: exported["stages"][0].update(tries=2),
        "decision": lambda exported: exported["decisions"][1].update(values={"x": 1}),
        "audit event": lambda exported: exported["interventions"][0].update(
            actor="bob"
        ),
        "new field": lambda exported: exported["stages"][0].update(extra=1),
        "hash": lambda exported: exported["stages"][0].update(hash="00"),
        "no hex": lambda exported: exported["stages"][0].update(hash="zz"),
        "removed": lambda exported: exported["stages"].pop(0),
        "cut": lambda exported: exported["interventions"].pop(),
        "added": lambda exported: exported["stages"].append(
            dict(exported["stages"][0])
        ),
        "swapped": swap,
        "findings": lambda exported: exported.update(findings=[], as_recorded=False),
        "time": lambda exported: exported.update(
            exported_at="2020-01-01T00:00:00+00:00"
        ),
        "head": lambda exported: exported.update(head="00" * 32),
        "rows": lambda exported: exported.update(rows=1),
        "signature": lambda exported: exported.update(signature="00" * 64),
        "no signature": lambda exported: exported.update(signature=""),
        "key": lambda exported: exported.update(public_key="00" * 32),
    }


@pytest.mark.parametrize("change", changes())
def test_every_change_to_a_bundle_is_detected(run: Run, change: str) -> None:
    exported = bundle(run)
    changes()[change](exported)
    again = read(json.dumps(exported))
    assert list(not_as_signed(again, public_key())) != []


def test_a_bundle_that_was_signed_again_has_another_key(
    run: Run, settings: Any
) -> None:
    ours = public_key()
    settings.AUDIT_KEYS = ["x" * 50]
    forged = bundle(run)
    assert list(not_as_signed(forged, public_key())) == []
    assert list(not_as_signed(forged, ours)) != []
    assert list(not_as_signed(forged, "no key")) != []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format": "signalbox-history/1"}',
        '{"format": "signalbox-history/1", "run": 1}',
        '{"format": "other", "format": "signalbox-history/1"}',
        "[" * 100_000,
        '{"format": NaN}',
    ],
)
def test_what_is_no_bundle_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidBundle):
        read(text)


def test_a_history_that_was_changed_is_exported_with_what_was_found(
    run: Run, tmp_path: Path
) -> None:
    Stage.objects.filter(run=run, sequence=1).update(node_name="burn")
    exported = bundle(run)
    assert not exported["as_recorded"]
    assert "of step 1" in exported["findings"][0]
    assert list(not_as_signed(exported, public_key())) == []
    file = tmp_path / "run.json"
    file.write_text(json.dumps(exported))
    came = verify(file, "--key", public_key())
    assert came.returncode == 1
    assert "Deviation found at export: run" in came.stdout


def test_a_bundle_can_be_downloaded_with_permission_to_read_values(
    run: Run, alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert (
        f"/runs/{run.pk}/history.json"
        in client.get(f"/runs/{run.pk}/").content.decode()
    )
    answer: Any = client.get(f"/runs/{run.pk}/history.json")
    assert f"{run.short_id}-history.json" in answer["Content-Disposition"]
    exported = read(b"".join(answer.streaming_content).decode())
    assert list(not_as_signed(exported, public_key())) == []
    assert exported["interventions"][0]["address"] is None, "for auditors"
    others = Group.objects.create(name="others")
    WorkflowPermission.objects.create(workflow_name="sum", group=others, can_read=True)
    WorkflowPermission.objects.create(workflow_name="sum", can_view=True)
    client = sign_in(alice)
    assert client.get(f"/runs/{run.pk}/history.json").status_code == 403


def test_the_command_refuses_what_does_not_exist(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not found"):
        call_command("export_history", str(uuid.uuid4()), to=tmp_path / "x.json")
    with pytest.raises(CommandError, match="Cannot write the file"):
        call_command("export_history", str(run.pk), to=tmp_path / "no" / "x.json")
