"""The page of a run: notes, labels, downloads and tracebacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from tests.support.factories import make_attempt, make_line, make_run
from workflows.models import AuditEvent, LogLine, Note, Outcome, Run, Status
from workflows.pages.run import log
from workflows.pages.views import history

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def text_of(page: Client, run: Run) -> str:
    return " ".join(page.get(f"/runs/{run.pk}/").content.decode().split())


# Notes -----------------------------------------------------------------------------------


def test_a_note_shows_author_text_and_time(page: Client, alice: User) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/notes/", {"text": " The <press>\x00 is back. "})
    assert answer.headers["Location"] == f"/runs/{run.pk}/"
    note = Note.objects.get()
    assert (note.author, note.author_name) == (alice, "alice")
    assert note.text == "The <press> is back."
    text = text_of(page, run)
    assert "The &lt;press&gt; is back." in text
    assert "<b>alice</b>" in text


def test_a_note_changes_nothing_else(page: Client) -> None:
    run = make_run(status=Status.RUNNING)
    before = Run.objects.values().get(pk=run.pk)
    page.post(f"/runs/{run.pk}/notes/", {"text": "Careful."})
    after = Run.objects.values().get(pk=run.pk)
    assert after | {"audit_chain_head": None} == before | {"audit_chain_head": None}


def test_a_note_has_an_audit_event_without_its_text(page: Client, alice: User) -> None:
    run = make_run(status=Status.RUNNING)
    page.post(f"/runs/{run.pk}/notes/", {"text": "Careful."})
    event = AuditEvent.objects.get()
    assert (event.run, event.actor, event.action) == (run, alice, "note")
    assert (event.status_before, event.status_after) == (run.status, run.status)
    assert "Careful" not in str(AuditEvent.objects.values())


def test_a_note_that_is_too_long_is_refused_instead_of_truncated(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/notes/", {"text": 4_001 * "x"})
    assert answer.status_code == 422
    assert "The note has 4,001 characters, at most 4,000" in answer.content.decode()
    assert 4_001 * "x" in answer.content.decode()
    assert not Note.objects.exists()


def test_an_empty_note_is_refused_with_a_message(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/notes/", {"text": "  "}, headers=HTMX)
    assert answer.status_code == 422
    assert "Write the note, then add it." in answer.content.decode()
    assert not Note.objects.exists()


def test_a_note_appears_on_the_open_page(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/notes/", {"text": "Look here."}, headers=HTMX)
    text = answer.content.decode()
    assert 'id="run-notes"' in text
    assert "Look here." in text
    assert "<html" not in text


def test_a_note_is_deleted_with_its_run(page: Client) -> None:
    run = make_run()
    page.post(f"/runs/{run.pk}/notes/", {"text": "Look here."})
    page.post(f"/runs/{run.pk}/delete/", {"reason": "old"})
    assert not Note.objects.exists()


# Labels ----------------------------------------------------------------------------------


def test_a_label_is_added_and_removed(page: Client) -> None:
    run = make_run()
    page.post(f"/runs/{run.pk}/labels/", {"name": " To Check "})
    assert list(run.labels.values_list("name", flat=True)) == ["to check"]
    assert 'href="/runs/?label=to%20check"' in text_of(page, run)
    answer = page.post(f"/runs/{run.pk}/labels/", {"off": "to check"}, headers=HTMX)
    assert 'id="run-notes"' in answer.content.decode()
    assert not run.labels.exists()


def test_an_invalid_label_is_refused_with_a_message(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/labels/", {"name": "a, b"}, headers=HTMX)
    assert answer.status_code in {400, 422}
    assert "a, b" in answer.content.decode()
    assert not run.labels.exists()


# Notices ---------------------------------------------------------------------------------


def test_users_who_can_view_workers_get_a_link_to_them(
    page: Client, admin: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.PENDING)
    assert "No worker is running." in text_of(page, run)
    assert "/workers/" not in text_of(page, run)
    notice = text_of(sign_in(admin), run).split('id="run-notice"')[1]
    assert 'href="/workers/"' in notice.split("</div>")[0]


# Errors ----------------------------------------------------------------------------------


def failed() -> Run:
    run = make_run(status=Status.FAILED)
    make_attempt(
        run,
        outcome=Outcome.FAILED,
        error_message="It broke.",
        traceback="Traceback <most recent>\n  File secret.py",
    )
    return run


def test_a_member_can_view_the_error_without_its_traceback(page: Client) -> None:
    text = text_of(page, failed())
    assert "The document could not be opened." in text
    assert "secret.py" not in text


def test_staff_can_view_node_error_type_and_traceback(
    admin: User, sign_in: SignIn
) -> None:
    text = text_of(sign_in(admin), failed())
    assert "Traceback &lt;most recent&gt;" in text
    assert "secret.py" in text
    assert "The node failed" in text
    assert 'href="?node=read_pages#run-panel"' in text


# Downloads -------------------------------------------------------------------------------


def test_params_can_be_downloaded(page: Client) -> None:
    run = make_run(params={"threshold": 0.25, "name": "größer"})
    answer = page.get(f"/runs/{run.pk}/params.json")
    assert answer.json() == {"threshold": 0.25, "name": "größer"}
    assert "attachment" in answer.headers["Content-Disposition"]


def content_of(answer: Any) -> str:
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(answer).decode()


def lines(run: Run, count: int) -> None:
    LogLine.objects.bulk_create(
        LogLine(
            run=run,
            attempt=1 + n // 30,
            number=1 + n % 30,
            sequence=n,
            level=30 if n % 10 == 0 else 20,
            message=f"line {n}\nand more",
        )
        for n in range(count)
    )


def test_the_log_file_has_all_lines_in_order(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LINES", 7)
    run = make_run()
    lines(run, 100)
    text = content_of(page.get(f"/runs/{run.pk}/log.txt"))
    found = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [line.rsplit(" ", 1)[1] for line in found] == [str(n) for n in range(100)]
    assert found[0].split()[1:4] == ["WARNING", "step", "0"]
    assert "\n    and more\n" in text


def test_the_log_file_has_the_lines_of_the_filter(page: Client) -> None:
    run = make_run()
    lines(run, 40)
    text = content_of(page.get(f"/runs/{run.pk}/log.txt?level=30&find=LINE+3"))
    assert [line.rsplit(" ", 1)[1] for line in text.splitlines()[::2]] == ["30"]


def test_the_log_file_is_read_in_batches(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    lines(run, 20)
    batches = log.as_text(run.log_lines.all(), 5)
    assert next(batches).count("and more") == 5
    assert len(list(batches)) == 3


@pytest.mark.django_db(transaction=True)
def test_the_log_file_is_streamed(alice: User) -> None:
    run = make_run()
    make_line(run, "the only line")

    async def read() -> bytes:
        client = AsyncClient()
        await client.aforce_login(alice)
        answer: Any = await client.get(f"/runs/{run.pk}/log.txt")
        assert answer.is_async
        return b"".join([chunk async for chunk in answer])

    assert b"the only line" in asyncio.run(read())
