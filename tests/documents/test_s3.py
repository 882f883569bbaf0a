"""Documents in S3: real django-storages and boto3, asking a server that speaks S3."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from project.env import ROOT, Environment
from project.s3 import S3Storage
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import make_document
from tests.support.s3_server import BUCKET, S3Server
from tests.support.servers import HOME, SECRET_KEY, free_port, manage, migrated_file
from tests.support.workers import ended, working
from workflows.documents import local_files
from workflows.documents.local_files import LocalCopyCache
from workflows.documents.page_images import page_image
from workflows.documents.service import store_document
from workflows.documents.storage import check_storage, delete_files
from workflows.infra.database_threads import run_in_db
from workflows.management.commands import prune_media
from workflows.models import Document, PageImage, RunFile, Status
from workflows.runtime import RenderOptions
from workflows.samples import samples
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
QUICK = {"connect_timeout": 1, "read_timeout": 0.3, "attempts": 1}
PDF = many_pages(3)
WHY = {"reason": "it was the wrong one"}
FAILS = "The storage of documents does not work just now"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Give a server for these tests."""
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


def messages_for_operators() -> dict[str, str]:
    """Return the settings that docs/operating.md lists."""
    text = (ROOT / "docs" / "operating.md").read_text()
    section = text.split("## Documents in S3")[1].split("\n## ")[0]
    exports = re.findall(r"^export (\w+)=(.*)$", section, re.MULTILINE)
    return {name: shlex.split(value)[0] for name, value in exports}


def environment(server: S3Server, **options: Any) -> dict[str, str]:
    """Return the variables an operator sets, for this server."""
    message = messages_for_operators()
    given = json.loads(message["MEDIA_STORAGE_OPTIONS"])
    given = {**given, "endpoint_url": server.url, **options}
    return {
        **message,
        "MEDIA_STORAGE_OPTIONS": json.dumps(given),
        "AWS_ACCESS_KEY_ID": server.key,
        "AWS_SECRET_ACCESS_KEY": server.secret,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


Use = Callable[..., None]


@pytest.fixture
def use(server: S3Server, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Use:
    """Return a function that makes documents be kept in S3."""

    def now(**options: Any) -> None:
        for name, value in environment(server, **options).items():
            monkeypatch.setenv(name, value)
        settings.STORAGES = {**settings.STORAGES, "default": Environment().storage}

    return now


@pytest.fixture
def bucket(server: S3Server, use: Use) -> Iterator[S3Server]:
    """Give the server with an empty bucket that documents are kept in."""
    use()
    yield server
    server.thaw()
    for name in server.names():
        server.client.delete_object(Bucket=BUCKET, Key=name)


@pytest.fixture(autouse=True)
def no_copy_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test profit of another one's copies."""
    monkeypatch.setattr(local_files, "_copies", LocalCopyCache())


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return Alice's browser."""
    return sign_in(alice)


def upload(page: Client, *contents: bytes, **headers: str) -> Any:
    """Upload files by the form; return the answer."""
    given = [
        SimpleUploadedFile(f"{number}.pdf", content)
        for number, content in enumerate(contents)
    ]
    return page.post("/documents/", {"file": given}, follow=True, headers=headers)


def body(answer: Any) -> bytes:
    """Return what a streamed answer holds."""
    return b"".join(answer.streaming_content)


def swept(*options: str) -> str:
    """Return the output of `prune_media`."""
    out = io.StringIO()
    call_command("prune_media", *options, stdout=out, stderr=out)
    return out.getvalue()


# What works ------------------------------------------------------------------------


def test_a_document_lives_in_the_bucket_from_upload_to_its_end(
    page: Client, bucket: S3Server, django_capture_on_commit_callbacks: Any
) -> None:
    assert "uploaded." in upload(page, PDF).content.decode()
    document = Document.objects.get()
    assert isinstance(document.file.storage, S3Storage)
    (name,) = bucket.names()
    assert (name, bucket.content(name)) == (str(document.file.name), PDF)
    assert "0.pdf" in page.get("/documents/").content.decode()
    url = f"/documents/{document.pk}"
    picture = page.get(f"{url}/pages/2.png").content
    assert picture.startswith(b"\x89PNG")
    assert bucket.content(str(PageImage.objects.get().file.name)) == picture
    answer = page.get(f"{url}/file")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert body(answer) == PDF
    with django_capture_on_commit_callbacks(execute=True):
        page.post(f"{url}/delete/", WHY)
    assert bucket.names() == []
    assert delete_files([document.file]) == 0, "what is gone already is no mistake"


def test_a_stored_image_is_not_rendered_again(page: Client, bucket: S3Server) -> None:
    upload(page, PDF)
    url = f"/documents/{Document.objects.get().pk}/pages/1.png"
    first = page.get(url).content
    before = len(bucket.requests())
    assert page.get(url).content == first
    asked = bucket.requests()[before:]
    assert {line.split()[0] for line in asked} <= {"HEAD", "GET"}
    assert len(asked) <= 3, asked


def test_a_large_document_is_uploaded_in_parts_and_downloaded_whole(
    page: Client, bucket: S3Server
) -> None:
    large = PDF + bytes(9_000_000)  # boto3 sends parts from 8 MB on
    upload(page, large)
    document = Document.objects.get()
    assert any("uploadId" in line for line in bucket.requests())
    url = f"/documents/{document.pk}/file"
    answer: Any = page.get(url)
    pieces = list(answer.streaming_content)
    assert b"".join(pieces) == large
    assert max(map(len, pieces)) <= 256 * 1024
    asked = len(bucket.requests())
    rest = page.get(url, headers={"range": "bytes=9000000-"})
    assert body(rest) == large[9_000_000:]
    assert len(bucket.requests()) == asked, "the copy is at hand"


def test_each_rendering_of_a_page_has_a_separate_image(bucket: S3Server) -> None:
    document = make_document(content=PDF)
    plain, turned = RenderOptions(dpi=72), RenderOptions(dpi=72, rotation=90)
    _, first = page_image(document, 1, plain)
    _, second = page_image(document, 1, turned)
    assert first != second
    assert page_image(document, 1, plain)[1] == first
    page_image(document, 1, RenderOptions(dpi=72, force=True))
    assert len(bucket.names()) == 3, "the document and two pictures"


def test_storing_the_same_content_concurrently_removes_nothing(
    bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = S3Storage._save  # noqa: SLF001 - the moment in which the other one is faster
    winner: list[Document] = []

    def then_lose(self: S3Storage, name: str, content: Any) -> str:
        monkeypatch.setattr(S3Storage, "_save", save)
        winner.append(store_document("first.pdf", io.BytesIO(PDF)))
        return str(save(self, name, content))

    monkeypatch.setattr(S3Storage, "_save", then_lose)
    document = store_document("second.pdf", io.BytesIO(PDF))
    assert document == winner[0]
    assert bucket.names() == [str(document.file.name)]


def test_unreferenced_objects_are_swept_from_the_bucket(
    page: Client, bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, PDF)
    document = Document.objects.get()
    page.get(f"/documents/{document.pk}/pages/1.png")
    known = bucket.names()
    orphan = default_storage.save("documents/zz/orphan.pdf", ContentFile(b"x" * 2000))
    bucket.client.put_object(Bucket=BUCKET, Key="elsewhere/file", Body=b"not ours")
    assert "0 files" in swept("--dry-run"), "it may be an upload under way"
    monkeypatch.setattr(prune_media, "GRACE_PERIOD", -prune_media.GRACE_PERIOD)
    assert f"{orphan} would be removed" in swept("--dry-run")
    assert orphan in bucket.names()
    assert "1 files (2.0 kB) removed." in swept()
    assert bucket.names() == sorted([*known, "elsewhere/file"])
    picture = PageImage.objects.get()
    default_storage.delete(str(picture.file.name))
    default_storage.delete(str(document.file.name))
    said = swept()
    assert "1 page images without a file removed." in said
    assert "The file of “0.pdf”" in said
    assert not PageImage.objects.exists()


@pytest.mark.slow
def test_the_environment_configures_storage_in_s3(
    bucket: S3Server, tmp_path: Path
) -> None:
    shutil.copy(migrated_file(Path(os.environ[HOME])), tmp_path)
    review = samples()[1]  # its pages contradict each other
    file = tmp_path / review.name
    file.write_bytes(review.data)
    message = {**environment(bucket), "SECRET_KEY": SECRET_KEY}
    given = ("--param", f"document=@{file}", "--wait", "--json")
    done = manage(
        "run_workflow", "classify-document", *given, data_dir=tmp_path, **message
    )
    run = json.loads(done.stdout)["run"]
    assert run["status"] == "waiting", done.stderr
    kept, *drawn = bucket.names()
    assert bucket.content(kept) == review.data
    assert all(name.startswith("pages/") for name in drawn)
    assert drawn, "the pages that a reviewer should look at"
    assert not (tmp_path / "media").exists()


# What fails ------------------------------------------------------------------------


@pytest.fixture(params=["unreachable", "no answer", "no bucket", "key", "secret"])
def failing(request: pytest.FixtureRequest, bucket: S3Server, use: Use) -> Use:
    """Return a function that makes storage fail, in one of the ways."""
    ways: dict[str, dict[str, Any]] = {
        "unreachable": {"endpoint_url": f"http://127.0.0.1:{free_port()}"},
        "no answer": {},
        "no bucket": {"bucket_name": "nobody-made-this"},
        "key": {"access_key": "AKIAUNKNOWN", "secret_key": "x"},
        "secret": {"access_key": bucket.key, "secret_key": "not the secret"},
    }

    def now() -> None:
        use(**QUICK, **ways[request.param])
        if request.param == "no answer":
            bucket.freeze()

    return now


def test_an_upload_that_cannot_be_stored_is_reported_and_leaves_nothing(
    page: Client, failing: Use, caplog: pytest.LogCaptureFixture
) -> None:
    failing()
    answer = upload(page, PDF, many_pages(2))
    assert answer.status_code == 503
    assert answer.content.decode().count(FAILS) == 2
    assert not Document.objects.exists()
    message = upload(page, PDF, accept="application/json")
    assert (message.status_code, message.json()["errors"][0]["code"]) == (
        503,
        "storage_failed",
    )
    warned = [r for r in caplog.records if r.levelno >= logging.WARNING]
    ours = [r for r in warned if r.name.startswith("workflows.")]
    assert len(ours) == 1, "however many have asked"
    assert ours[0].getMessage().startswith("Document storage unavailable (")
    assert "not the secret" not in caplog.text


def test_document_pages_report_that_storage_is_unavailable(
    page: Client, failing: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, PDF)
    document = Document.objects.get()
    url = f"/documents/{document.pk}"
    page.get(f"{url}/pages/1.png")
    failing()
    monkeypatch.setattr(
        local_files, "_copies", LocalCopyCache()
    )  # as in another process
    assert page.get(f"{url}/").status_code == 200
    for address in ("pages/1.png", "pages/2.png", "file"):
        answer = page.get(f"{url}/{address}")
        assert answer.status_code == 503, address
        assert FAILS in answer.content.decode()
        assert "max-age" not in answer.headers.get("Cache-Control", "")
    with pytest.raises(CommandError, match=FAILS):
        swept()
    assert PageImage.objects.exists(), "nothing is thought to be gone"


@pytest.mark.django_db(transaction=True)
def test_objects_that_could_not_be_removed_are_reported_and_swept_later(
    page: Client, bucket: S3Server, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, PDF)
    document = Document.objects.get()
    page.get(f"/documents/{document.pk}/pages/1.png")
    use(**QUICK, endpoint_url=f"http://127.0.0.1:{free_port()}")
    answer = page.post(f"/documents/{document.pk}/delete/", WHY, follow=True)
    assert "2 of its files could not be removed" in answer.content.decode()
    assert not Document.objects.exists()
    use()
    assert len(bucket.names()) == 2
    monkeypatch.setattr(prune_media, "GRACE_PERIOD", -prune_media.GRACE_PERIOD)
    assert "2 files" in swept()
    assert bucket.names() == []


@pytest.mark.django_db(transaction=True)
async def test_a_run_fails_during_a_storage_outage_and_can_be_resumed_afterwards(
    bucket: S3Server, use: Use
) -> None:
    report = samples()[0]
    document = await run_in_db(make_document, report.name, report.data)
    use(**QUICK, endpoint_url=f"http://127.0.0.1:{free_port()}")
    params = {"document": str(document.pk)}
    run = await run_in_db(system.execute, "classify-document", params)
    async with working():
        failed = await ended(run.pk)
        assert failed.status == Status.FAILED
        assert FAILS in failed.error_message
        use()
        await run_in_db(system.resume, run.pk, by=None)
        assert (await ended(run.pk)).status == Status.COMPLETED


@pytest.mark.django_db(transaction=True)
async def test_a_file_of_a_run_is_stored_once_the_outage_is_over_and_downloaded(
    bucket: S3Server, use: Use, alice: User, sign_in: SignIn
) -> None:
    use(**QUICK, endpoint_url=f"http://127.0.0.1:{free_port()}")
    params = {"invoices": "number,amount\nA-1,5", "wait": False}
    run = await run_in_db(system.execute, "reconcile-payments", params)
    async with working():
        failed = await ended(run.pk)
        assert FAILS in failed.error_message
        assert not await run_in_db(RunFile.objects.exists)
        use()
        await run_in_db(system.resume, run.pk, by=None)
        assert (await ended(run.pk)).status == Status.COMPLETED
    file = await run_in_db(RunFile.objects.get)
    assert bucket.names() == [str(file.file.name)]
    address = f"/runs/{run.pk}/files/{file.pk}"
    response = await run_in_db(lambda: sign_in(alice).get(address).getvalue())
    assert response.startswith(b"invoice,customer,amount")
    await run_in_db(lambda: system.delete_run(run.pk, by=None, reason="test"))
    assert bucket.names() == []


def test_a_first_start_that_cannot_store_its_samples_reports_it_and_stores_nothing(
    use: Use, bucket: S3Server
) -> None:
    use(**QUICK, bucket_name="nobody-made-this")
    with pytest.raises(CommandError, match=r"does not work just now.*\(.*NoSuchBucket"):
        call_command("prepare", stdout=io.StringIO())
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bucket_nam": "x"}, "Invalid setting 'bucket_nam'"),
        ({"bucket_name": None}, "needs the option bucket_name"),
    ],
)
def test_invalid_storage_options_are_reported_before_serving(
    use: Use, options: dict[str, Any], said: str
) -> None:
    use()
    assert check_storage() == []
    use(**options)
    (message,) = check_storage()
    assert message.msg.startswith(
        "MEDIA_STORAGE cannot be used with MEDIA_STORAGE_OPTIONS"
    )
    assert said in message.msg


def test_no_one_is_waited_for_longer_than_a_reader_would(use: Use) -> None:
    use()
    storage: Any = default_storage
    config = storage.client_config
    assert (config.connect_timeout, config.read_timeout) == (5, 20)
    assert config.retries["total_max_attempts"] == 2
    assert storage.transfer_config.num_download_attempts == 2


def test_threads_share_one_client(bucket: S3Server) -> None:
    storage: Any = default_storage
    clients: list[Any] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: clients.append(storage.connection))
        thread.start()
        thread.join()
    assert clients[0] is clients[1]
