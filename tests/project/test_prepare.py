"""`manage.py prepare`: what a new installation gets, once."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from pytest_django.fixtures import Settings

from tests.support.servers import ADMIN_PASSWORD, HOME, manage, migrated_file
from workflows.models import Document


def prepare() -> str:
    """Prepare again; return the output."""
    out = StringIO()
    call_command("prepare", stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def empty_library(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def test_the_password_of_the_admin_is_shown_once() -> None:
    shown = re.search(r"Sign in as admin with the password (\S+)", prepare())
    assert shown is not None
    admin = User.objects.get()
    assert admin.is_superuser
    assert admin.check_password(shown[1])
    assert prepare() == ""
    assert User.objects.get().password == admin.password


def test_a_password_that_was_given_is_not_shown(settings: Settings) -> None:
    settings.ADMIN_PASSWORD = ADMIN_PASSWORD
    assert ADMIN_PASSWORD not in prepare()
    assert User.objects.get().check_password(ADMIN_PASSWORD)


def test_no_one_is_added_where_someone_is() -> None:
    User.objects.create_user("alice")
    assert prepare() == ""
    assert User.objects.get().username == "alice"
    assert not Document.objects.exists()


def test_prepare_stores_sample_documents() -> None:
    prepare()
    documents = Document.objects.all()
    assert len(documents) >= 2
    assert all(document.page_count for document in documents)
    assert {document.uploaded_by for document in documents} == {User.objects.get()}


def test_deleted_samples_are_not_stored_again() -> None:
    prepare()
    Document.objects.all().delete()
    prepare()
    assert not Document.objects.exists()


def test_a_failed_first_start_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("workflows.management.commands.prepare.store_document", fail)
        with pytest.raises(OSError, match="No space"):
            prepare()
    assert not User.objects.exists()
    assert "Sign in as admin" in prepare()


@pytest.mark.slow
def test_production_collects_its_static_files(tmp_path: Path) -> None:
    team = {
        "PRODUCTION": "1",
        "SECRET_KEY": "k" * 60,
        "ALLOWED_HOSTS": "runs.example.org",
    }
    refused = manage("serve", data_dir=tmp_path, **team)
    assert refused.returncode == 1
    assert "run `manage.py prepare`" in refused.stderr
    prepared = manage("prepare", data_dir=tmp_path, **team)
    assert prepared.returncode == 0, prepared.stderr
    assert (tmp_path / "static" / "staticfiles.json").exists()
    assert ADMIN_PASSWORD not in prepared.stdout


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("is_new", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_processes_that_prepare_together_wait_for_each_other(
    tmp_path: Path, database: str, is_new: bool, request: pytest.FixtureRequest
) -> None:
    settings = {"ADMIN_PASSWORD": ""}
    if not is_new:  # one migration is left to apply
        settings["WORKFLOW_APPS"] = "tests.project.unmigrated"
    if database == "postgres":
        name = "postgres_url" if is_new else "migrated_url"
        settings["DATABASE_URL"] = request.getfixturevalue(name)
    elif not is_new:
        shutil.copy(migrated_file(Path(os.environ[HOME])), tmp_path)
    with ThreadPoolExecutor() as threads:
        together = [
            threads.submit(manage, "prepare", data_dir=tmp_path, **settings)
            for _ in range(3)
        ]
    done = [process.result() for process in together]
    assert [process.stderr for process in done] == ["", "", ""]
    assert [process.returncode for process in done] == [0, 0, 0]
    message = "".join(process.stdout for process in done)
    assert message.count("Sign in as admin") == message.count("Database migrated") == 1
