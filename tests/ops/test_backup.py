"""`manage.py backup` and `restore`: what was there is there again, or nothing changes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from tests.support.factories import make_document, make_run, make_run_file
from tests.support.sealed_runs import found_in, sealed_run
from tests.support.servers import (
    SECRET_KEY,
    manage,
    postgres_programs,
    running_server,
)
from workflows.execution import workers
from workflows.models import AuditEvent, Document, Run, Worker
from workflows.ops import backup

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the programs of the tests' own PostgreSQL."""
    path = f"{postgres_programs()}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)


def back_up(to: Path, *options: str) -> Path:
    file = to / "backup.tar.gz"
    call_command("backup", str(file), *options, stdout=io.StringIO())
    return file


def restore(file: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("restore", str(file), *options, stdout=out, stderr=out)
    return out.getvalue()


def edited(file: Path, name: str, content: bytes) -> Path:
    """Return a copy of a backup in which a member has other content."""
    copy = file.with_name("edited.tar.gz")
    with tarfile.open(file) as source, tarfile.open(copy, "w:gz") as target:
        for entry in source:
            data = source.extractfile(entry)
            assert data is not None
            text = content if entry.name == name else data.read()
            entry.size = len(text)
            target.addfile(entry, io.BytesIO(text))
    return copy


def test_a_restore_brings_back_rows_and_files_and_a_history_that_verifies(
    tmp_path: Path,
) -> None:
    run = sealed_run()
    document = make_document(content=b"%PDF-1.7 the contract")
    other = make_run(workflow_name="other")
    made = make_run_file(other, content=b"1,2\n")
    file = back_up(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600

    default_storage.delete(str(document.file.name))
    Document.objects.all().delete()
    Run.objects.all().delete()
    later = make_run(workflow_name="later")
    printed = restore(file, "--replace")

    assert {one.pk for one in Run.objects.all()} == {run.pk, other.pk}
    assert later.pk not in {run.pk, other.pk}
    with Document.objects.get().file.open() as content:
        assert content.read() == b"%PDF-1.7 the contract"
    with other.files.get().file.open() as content:
        assert content.read() == b"1,2\n"
    assert other.files.get().name == made.name
    assert "1 files (1 were in storage already)" in printed
    assert found_in(run) == []
    event = AuditEvent.objects.get(action=backup.ACTION)
    assert (event.actor_name, event.run_id) == ("system", None)


def test_a_backup_that_was_changed_or_cut_off_changes_nothing(tmp_path: Path) -> None:
    run = make_run()
    document = make_document(content=b"%PDF-1.7 the original")
    file = back_up(tmp_path)
    name = f"media/{document.file.name}"
    cut, other, no_end = (tmp_path / name for name in ("cut", "other", "no-end"))
    cut.write_bytes(file.read_bytes()[:-200])
    other.write_text("no backup")
    no_end.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-20_480]))
    for bad, message in (
        (edited(file, name, b"%PDF-1.7 forged"), f"“{name}” differs"),
        (cut, "is no complete backup"),
        (other, "is no complete backup"),
        (no_end, "is no complete backup"),
        (tmp_path / "missing", "cannot be read"),
    ):
        with pytest.raises(CommandError, match=message):
            restore(bad, "--replace")
    assert Run.objects.get().pk == run.pk
    assert not AuditEvent.objects.filter(action=backup.ACTION).exists()


def test_a_restore_is_refused_where_it_would_lose_something(tmp_path: Path) -> None:
    make_run()
    file = back_up(tmp_path)
    with pytest.raises(CommandError, match="has runs, which the restore would replace"):
        restore(file)
    workers.register("busy", 1)
    with pytest.raises(CommandError, match="Stop all servers and workers first"):
        restore(file, "--replace")
    Worker.objects.all().delete()
    restore(file, "--replace")


def test_a_backup_with_another_key_needs_a_word_of_consent(
    tmp_path: Path, settings: Any
) -> None:
    make_run()
    file = back_up(tmp_path)
    settings.AUDIT_KEYS = ["another key of at least fifty characters, for this test"]
    with pytest.raises(CommandError, match="another SECRET_KEY"):
        restore(file, "--replace")
    assert "Restored" in restore(file, "--replace", "--other-key")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"database": "other"}, "set DATABASE_URL to a database of the same kind"),
        ({"migrations": {"workflows": ["9999_future"]}}, "install that version"),
        ({"format": 7}, "has format 7"),
    ],
)
def test_a_backup_that_does_not_fit_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    file = back_up(tmp_path, "--without-documents")
    with tarfile.open(file) as archive:
        names = archive.getnames()
        content = archive.extractfile("manifest.json")
        assert content is not None
        manifest = json.load(content)
    assert names[0] == "manifest.json"
    assert not [name for name in names if name.startswith("media/")]
    assert manifest["has_media"] is False
    text = json.dumps(manifest | changed).encode()
    forged = edited(file, "manifest.json", text)
    with tarfile.open(forged) as archive:
        content = archive.extractfile("digests.json")
        assert content is not None
        digests = json.load(content)
    digests["manifest.json"] = hashlib.sha256(text).hexdigest()
    again = edited(forged.rename(file), "digests.json", json.dumps(digests).encode())
    with pytest.raises(CommandError, match=message):
        restore(again)


def test_a_backup_names_missing_files_and_overwrites_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = make_document()
    default_storage.delete(str(document.file.name))
    out, errors = io.StringIO(), io.StringIO()
    call_command("backup", str(tmp_path), stdout=out, stderr=errors)
    assert f"“{document.file.name}” is not in storage" in errors.getvalue()
    (file,) = tmp_path.glob("signalbox-*.tar.gz")
    with pytest.raises(CommandError, match="exists"):
        call_command("backup", str(file))


def test_a_backup_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_document()

    def fails(*_: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(default_storage, "open", fails)
    with pytest.raises(CommandError, match="the disk is gone"):
        back_up(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_installation_is_restored_elsewhere_from_a_backup_made_while_it_ran(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    settings = {"PATH": os.environ["PATH"], "WORKFLOW_APPS": "tests.crash.app"}
    elsewhere = dict(settings)
    if database == "postgres":
        settings["DATABASE_URL"] = request.getfixturevalue("migrated_url")
        elsewhere["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    file = tmp_path / "backup.tar.gz"
    with running_server(first, **settings) as server:
        env = {"SECRET_KEY": SECRET_KEY, **settings}
        params = ("--param", f"trace={tmp_path / 'trace'}", "--param", "rounds=1")
        launched = manage(
            "run_workflow", "count", "--wait", *params, data_dir=first, **env
        )
        assert launched.returncode == 0, launched.stderr
        made = manage("backup", str(file), data_dir=first, **env)
        assert made.returncode == 0, made.stderr
        assert server.stop() == 0
    env = {"SECRET_KEY": SECRET_KEY, **elsewhere}
    restored = manage("restore", str(file), data_dir=second, **env)
    assert restored.returncode == 0, restored.stderr
    verified = manage("verify_history", data_dir=second, **env)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert sorted(path.name for path in (second / "media").rglob("*.pdf")) == sorted(
        path.name for path in (first / "media").rglob("*.pdf")
    )
