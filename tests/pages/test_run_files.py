"""The files of a run on its page, in its result, in the API, and in its signed bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from tests.support.factories import (
    make_checkpoint,
    make_run,
    make_run_file,
    make_user,
)
from tests.support.responses import text_of
from workflows.audit import audit_events
from workflows.audit.bundle_export import pieces, public_key
from workflows.audit.bundle_format import not_as_signed, read
from workflows.audit.file_verification import ADD_FILE, check_files, sealed_values
from workflows.documents.run_files import insert
from workflows.models import Run, RunFile, WorkflowPermission
from workflows.pages.render.text import size
from workflows.pages.run import run_files

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> None:
    """Store files in a directory of this test."""
    settings.MEDIA_ROOT = tmp_path


def run_with_file(**fields: Any) -> tuple[Run, RunFile]:
    """Return a completed run whose result has the id of its file in a list."""
    run = make_run(sequence=2)
    file = make_run_file(run, **fields)
    run.result = {"made": [{"report": str(file.pk)}], "title": "all"}
    run.save()
    return run, file


def address_of(file: RunFile) -> str:
    return f"/runs/{file.run_id}/files/{file.pk}"


def test_the_page_lists_the_files_with_size_node_and_download(
    sign_in: SignIn, admin: User
) -> None:
    run, file = run_with_file(content=b"x" * 12_345)
    page = text_of(sign_in(admin).get(f"/runs/{run.pk}/"))
    section = page.split('id="run-files"')[1].split("</section>")[0]
    for text in (
        "report.csv",
        size(12_345),
        "Read pages",
        f'href="{address_of(file)}"',
    ):
        assert text in section


def test_a_file_in_the_result_is_a_download_however_deep_it_is_nested(
    sign_in: SignIn, admin: User
) -> None:
    run, file = run_with_file()
    page = text_of(sign_in(admin).get(f"/runs/{run.pk}/"))
    result = page.split('id="run-result"')[1].split("</section>")[0]
    assert f'<a href="{address_of(file)}">report.csv ({size(4)})</a>' in result


def test_a_page_without_files_has_no_list(sign_in: SignIn, admin: User) -> None:
    page = text_of(sign_in(admin).get(f"/runs/{make_run().pk}/"))
    assert "files-heading" not in page


def test_only_the_newest_files_are_listed(
    sign_in: SignIn, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "MAX_FILES", 2)
    run = make_run()
    for number in range(4):
        make_run_file(run, f"{number}.csv")
    page = text_of(sign_in(admin).get(f"/runs/{run.pk}/"))
    assert "3.csv" in page
    assert "1.csv" not in page
    assert "2 older files are not listed." in page


def test_an_earlier_step_shows_only_the_files_made_until_then(
    sign_in: SignIn, admin: User
) -> None:
    run = make_run(sequence=2)
    for sequence in (1, 2):
        make_checkpoint(run, sequence=sequence, data='{"data": {}}')
        make_run_file(run, f"{sequence}.csv", sequence=sequence)
    page = text_of(sign_in(admin).get(f"/runs/{run.pk}/?at=1"))
    section = page.split('id="run-files"')[1].split("</section>")[0]
    assert "1.csv" in section
    assert "2.csv" not in section


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/html"),
        ("image.svg", "image/svg+xml"),
        ("a\u202eb \"'é.txt", "text/plain"),
        ("report.pdf", "application/pdf"),
    ],
)
def test_a_download_is_an_attachment_that_no_browser_renders(
    sign_in: SignIn, admin: User, name: str, kind: str
) -> None:
    _, file = run_with_file(name=name, content_type=kind, content=b"<script>")
    response = sign_in(admin).get(address_of(file))
    assert response.getvalue() == b"<script>"
    safe = (
        "application/pdf" if kind == "application/pdf" else "application/octet-stream"
    )
    assert response["Content-Type"] == safe
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_range_and_an_empty_file_can_be_downloaded(
    sign_in: SignIn, admin: User
) -> None:
    _, file = run_with_file(content=b"0123456789")
    part = sign_in(admin).get(address_of(file), headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.getvalue()) == (206, b"234")
    _, empty = run_with_file(content=b"")
    assert sign_in(admin).get(address_of(empty)).getvalue() == b""


def test_a_file_is_only_found_below_its_own_run(sign_in: SignIn, admin: User) -> None:
    run, file = run_with_file()
    client = sign_in(admin)
    other = make_run()
    assert client.get(f"/runs/{other.pk}/files/{file.pk}").status_code == 404
    assert client.get(f"/runs/{run.pk}/files/{uuid4()}").status_code == 404
    file.file.storage.delete(str(file.file.name))
    assert client.get(address_of(file)).status_code == 404, "gone from storage"


def test_who_may_not_read_the_data_sees_neither_names_nor_content(
    sign_in: SignIn, settings: Settings
) -> None:
    run, file = run_with_file(name="secret.csv")
    readers = Group.objects.create(name="readers")
    WorkflowPermission.objects.create(
        workflow_name=run.workflow_name, group=readers, can_view=False, can_read=True
    )
    client = sign_in(make_user("viewer"))
    page = text_of(client.get(f"/runs/{run.pk}/"))
    section = page.split('id="run-files"')[1].split("</section>")[0]
    assert "Files of this workflow are visible to some groups only." in section
    assert "secret.csv" not in page
    assert str(file.pk) not in page
    assert client.get(address_of(file)).status_code == 403


# The API ------------------------------------------------------------------------------------


def test_the_api_lists_and_downloads_the_files(sign_in: SignIn, admin: User) -> None:
    run, file = run_with_file()
    second = make_run_file(run, "second.csv", sequence=2)
    client = sign_in(admin)
    listed = client.get(f"/api/v1/runs/{run.pk}/files?limit=1").json()
    assert [one["id"] for one in listed["items"]] == [str(file.pk)]
    rest = client.get(f"/api/v1/runs/{run.pk}/files?cursor={listed['next']}").json()
    (item,) = rest["items"]
    assert (item["name"], item["sequence"], item["size"], item["node"]) == (
        "second.csv",
        2,
        4,
        "read_pages",
    )
    response = client.get(item["url"])
    assert response.getvalue() == b"a,b\n"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert second.pk.hex == item["id"].replace("-", "")


# The record ---------------------------------------------------------------------------------


def recorded() -> tuple[Run, RunFile]:
    """Return a run with a file and its sealed audit event."""
    run, file = run_with_file()
    RunFile.objects.filter(pk=file.pk).delete()
    insert(file)
    return run, file


def test_the_signed_bundle_has_the_digests_of_the_files() -> None:
    run, file = recorded()
    text = "".join(pieces(run))
    (listed,) = json.loads(text)["run"]["files"]
    assert (listed["name"], listed["sha256"]) == ("report.csv", file.sha256)
    assert not [one for one in json.loads(text)["findings"] if "file" in one]
    assert "files" not in json.loads("".join(pieces(make_run())))["run"]
    assert list(not_as_signed(read(text), public_key())) == []


@pytest.mark.parametrize("change", ["digest", "deleted", "added"])
def test_a_file_that_was_changed_added_or_deleted_is_found(change: str) -> None:
    run, file = recorded()
    assert list(check_files([run.pk])) == []
    rows = RunFile.objects.filter(pk=file.pk)
    if change == "digest":
        rows.update(sha256="0" * 64)
    elif change == "deleted":
        rows.delete()
    else:
        make_run_file(run, "more.csv")
    (finding,) = check_files([run.pk])
    assert ("was deleted" if change == "deleted" else "was added or changed") in str(
        finding
    )
    assert str(finding) in json.loads("".join(pieces(run)))["findings"]


def test_a_second_insert_changes_nothing() -> None:
    run, file = recorded()
    insert(file)
    assert run.audit_events.filter(action=ADD_FILE).count() == 1
    assert run.audit_events.get(action=ADD_FILE).after == sealed_values(file)
    assert audit_events.is_declared(ADD_FILE)
