"""Files are opened in processes of their own, and nothing they do reaches ours."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import crafted_pdfs as crafted
from tests.support.crafted_pdfs import BODY, one_page, written
from workflows.documents import pdf
from workflows.documents.pdf import PageStyle, PageTooComplex
from workflows.documents.reader import Job, Limits, Pool, Task
from workflows.documents.reader.page_encoding import decode_page, encode_page
from workflows.documents.reader.pool import Cancelled, ReaderCrashed
from workflows.runtime.errors import ProviderError
from workflows.runtime.records import Box, Line, Page, Word

LIMITS = Limits(seconds=30, memory_bytes=1_000_000_000, idle_seconds=60)
STYLE = {name: getattr(PageStyle(), name) for name in PageStyle.__slots__}


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Give a pool of one child."""
    made = Pool("test", 1, LIMITS)
    yield made
    made.close()


@pytest.fixture
def memo(tmp_path: Path) -> str:
    """Return the path of a PDF of three pages."""
    return stored(tmp_path, crafted.many_pages(3))


@pytest.fixture
def endless(tmp_path: Path) -> str:
    """Return the path of a page that takes minutes to draw."""
    return stored(tmp_path, one_page(b"0 0 600 700 re f " * 300_000))


def stored(place: Path, data: bytes) -> str:
    """Store a file; return its path."""
    path = place / f"{len(data)}.pdf"
    path.write_bytes(data)
    return str(path)


def drawing(path: str) -> dict[str, Any]:
    """Return what asks for the first page at a size that takes a while."""
    return {"path": path, "page": 1, "style": {**STYLE, "dpi": 600}}


def busy_child(pool: Pool, call: threading.Thread) -> int:
    """Return the process id of the child that works for a call that was started."""
    before = set(children())
    call.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if new := set(children()) - before:
            return new.pop()
        os.sched_yield()
    raise AssertionError("no child was started")


def children() -> list[int]:
    """Return the readers this process has started and that live."""
    own = Path(f"/proc/{os.getpid()}/task")
    found = " ".join(
        (thread / "children").read_text() for thread in own.iterdir() if thread.exists()
    )
    return [int(pid) for pid in found.split()]


async def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so; fail when it does not become so."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - other processes cannot set an event
            await asyncio.sleep(0)


# What it does ------------------------------------------------------------------------


def test_a_child_process_returns_the_same_text_and_images(
    pool: Pool, memo: str
) -> None:
    reply = pool.run(Task("text", {"path": memo, "page": 2}))
    assert decode_page(reply.head) == pdf.read_page(Path(memo), 2)
    drawn = pool.run(
        Task("draw", {"path": memo, "page": 2, "style": {**STYLE, "dpi": 150}})
    )
    assert drawn.body == pdf.render_page(Path(memo), 2).data
    assert pool.run(Task("count", {"path": memo})).head == {"pages": 3}


def test_one_child_does_page_after_page(pool: Pool, memo: str) -> None:
    for page in (1, 2, 3):
        pool.run(Task("text", {"path": memo, "page": page}, affinity=memo))
    assert len(pool.pids) == 1


def test_any_page_survives_the_transfer_from_the_child_process() -> None:
    box = Box(0.1, 0.2, 0.3, 0.4)
    word = Word("»Ünïcode« \N{PILE OF POO}", box, 0.5)
    page = Page(7, 10, 20, (Line((word,)),), False, True, "plain", 90, (box,))
    assert decode_page(encode_page(page)) == page


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (crafted.encrypted(b"tide"), pdf.EncryptedPdf),
        (one_page(BODY)[:300], pdf.DamagedPdf),
        (b"just text", pdf.NotAPdf),
    ],
)
def test_what_is_wrong_with_a_file_is_the_same_error_here(
    pool: Pool, tmp_path: Path, data: bytes, error: type[ProviderError]
) -> None:
    with pytest.raises(error, match=r"\.$"):
        pool.run(Task("count", {"path": stored(tmp_path, data)}))
    assert len(pool.pids) == 1, "and its child does the next one"


def test_a_mistake_of_ours_is_no_fault_of_the_file(pool: Pool) -> None:
    with pytest.raises(RuntimeError, match="made a mistake"):
        pool.run(Task("count", {"path": "/no/such/file"}))


# What it survives --------------------------------------------------------------------


def test_a_child_that_crashes_is_replaced_and_the_work_done(
    pool: Pool, memo: str
) -> None:
    pool.run(Task("count", {"path": memo}))
    (first,) = pool.pids
    os.kill(first, signal.SIGSEGV)
    assert pool.run(Task("count", {"path": memo})).head == {"pages": 3}
    assert pool.pids != [first]


def test_a_file_that_crashes_every_child_is_refused_in_a_sentence(
    pool: Pool, memo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed: list[int] = []
    ask = pool._run_on  # noqa: SLF001 - the moment between start and answer

    def crash(child: Any, task: Task, job: Job) -> Any:
        os.kill(child.pid, signal.SIGABRT)
        crashed.append(child.pid)
        return ask(child, task, job)

    monkeypatch.setattr(pool, "_run_on", crash)
    with pytest.raises(ReaderCrashed, match="crashed over this one, twice"):
        pool.run(Task("count", {"path": memo}))
    assert len(set(crashed)) == 2


def test_a_child_that_hangs_is_ended_in_time(pool: Pool, memo: str) -> None:
    pool.run(Task("count", {"path": memo}))
    (stuck,) = pool.pids
    os.kill(stuck, signal.SIGSTOP)
    with pytest.raises(PageTooComplex, match=r"longer than 0\.3 s"):
        pool.run(Task("count", {"path": memo}, seconds=0.3))
    assert stuck not in children()
    assert pool.run(Task("count", {"path": memo})).head == {"pages": 3}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="macOS has no such limit")
def test_a_page_that_exceeds_the_memory_limit_is_refused(
    tmp_path: Path,
) -> None:
    bomb = crafted.image(
        b"/Width 7000/Height 7000/ColorSpace/DeviceRGB/BitsPerComponent 8",
        bytes(7_000 * 7_000 * 3),
    )
    data = one_page(b"/I Do", resources=b"/XObject<</I 6 0 R>>", more=[bomb])
    small = Pool("test", 1, Limits(30, 120_000_000, 60))
    with pytest.raises(ProviderError, match=r"\.$"):
        small.run(Task("draw", drawing(stored(tmp_path, data))))
    assert small.run(
        Task("count", {"path": stored(tmp_path, one_page(BODY))})
    ).head == {"pages": 1}
    small.close()


def test_a_child_without_work_ends_and_is_not_missed(memo: str) -> None:
    pool = Pool("test", 1, Limits(30, 1_000_000_000, idle_seconds=0.05))
    pool.run(Task("count", {"path": memo}))
    (first,) = pool.pids
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert pool.run(Task("count", {"path": memo})).head == {"pages": 3}
    pool.close()


def test_the_children_end_with_the_process_that_started_them(memo: str) -> None:
    pool = Pool("test", 1, LIMITS)
    pool.run(Task("count", {"path": memo}))
    (pid,) = pool.pids
    child = pool._idle[0]._process  # noqa: SLF001 - as if we were gone
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(10) == 0
    assert pid not in children()
    pool.close()


# Who calls it off --------------------------------------------------------------------


def test_a_job_that_is_called_off_ends_its_child(pool: Pool, endless: str) -> None:
    job, ended = Job(), []

    def work() -> None:
        with pytest.raises(Cancelled):
            pool.run(Task("draw", drawing(endless)), job)
        ended.append(True)

    call = threading.Thread(target=work)
    pid = busy_child(pool, call)
    job.cancel()
    call.join(10)
    assert ended
    assert pid not in children()


async def test_a_cancelled_task_leaves_no_child_process_running(
    pool: Pool, endless: str
) -> None:
    before = set(children())
    task = asyncio.create_task(pool.run_async(Task("draw", drawing(endless))))
    await until(lambda: bool(set(children()) - before))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not set(children()) - before)


def test_waiting_for_a_child_process_can_be_cancelled(pool: Pool, memo: str) -> None:
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        pool.run(Task("count", {"path": memo}), job)


# What a child knows ------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="macOS shows no environment")
def test_a_child_process_has_no_secrets(
    pool: Pool, memo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "nobody's business")
    pool.run(Task("count", {"path": memo}))
    (pid,) = pool.pids
    reply = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PATH=" in reply
    assert b"SECRET" not in reply
    assert b"DATA_DIR" not in reply


def test_a_child_imports_no_django(pool: Pool, tmp_path: Path) -> None:
    reply = pool.run(
        Task("count", {"path": stored(tmp_path, one_page(written("SECRET")))})
    )
    assert reply.head == {"pages": 1}
    (pid,) = pool.pids
    maps = Path(f"/proc/{pid}/maps")
    if maps.exists():
        assert "psycopg" not in maps.read_text()
