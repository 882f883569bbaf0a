"""Files that runs make: once per step and name, stored before they are recorded."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.utils import timezone

from tests.support.workers import SharedEvent, ended, working
from workflows.audit.file_verification import sealed_values
from workflows.audit.verifier import Checker
from workflows.documents import run_files
from workflows.documents.storage import delete_files
from workflows.engine import Retry, State, Workflow, node, parallel
from workflows.engine.testing import run_in_memory, run_in_memory_async
from workflows.infra.database_threads import run_in_db
from workflows.management.commands import prune_media
from workflows.models import AuditEvent, Retention, Run, RunFile
from workflows.registry import Registry
from workflows.retention.preview import preview
from workflows.retention.purge import purge_due
from workflows.runtime import FakeRuntime, Runtime, StorageFailed
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick", "media")
CSV = "name,amount\nAda,3\n"


class Report(State):
    """State of all runs here."""

    names: tuple[str, ...] = ("a.csv", "b.csv")
    file: UUID | None = None
    files: tuple[UUID, ...] = ()
    text: str = ""


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Path:
    """Store files in a directory of this test."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def stored() -> list[str]:
    """Return the names of all files of runs in storage."""
    names = []
    if default_storage.exists("run-files"):
        for folder in default_storage.listdir("run-files")[0]:
            names += default_storage.listdir(f"run-files/{folder}")[1]
    return sorted(names)


def only(start: Any) -> Workflow[Report]:
    return Workflow("reporting", state=Report, start=start, routes={})


async def run_of(registry: Registry, workflow: Workflow[Any], by: User) -> Run:
    """Execute a workflow to its end."""
    registry.register(workflow)
    run = await run_in_db(System(registry).execute, workflow.name, {}, by=by)
    async with working(registry):
        return await ended(run.pk)


async def file_of(run: Run) -> RunFile:
    return await run_in_db(RunFile.objects.get, run=run.pk)


def files_listed(run: Run) -> list[RunFile]:
    return list(run_files.files_of(run))


async def findings() -> list[str]:
    return await run_in_db(lambda: [str(one) for one in Checker().everything()])


@node
async def write(state: Report, runtime: Runtime) -> Report:
    return state.set(file=await runtime.documents.add("report.csv", CSV))


@node
def write_in_thread(state: Report, runtime: Runtime) -> Report:
    made = runtime.result_of(runtime.documents.add("report.csv", CSV))
    return state.set(file=made)


@node
async def read(state: Report, runtime: Runtime) -> Report:
    assert state.file is not None
    info = await runtime.documents.get(state.file)
    content = await runtime.documents.read(state.file)
    return state.set(text=f"{info.name} {info.content_type} {content.decode()}")


@pytest.mark.parametrize("start", [write, write_in_thread], ids=["async", "thread"])
async def test_a_node_makes_a_file_that_later_nodes_read(
    registry: Registry, person: User, start: Any
) -> None:
    workflow = Workflow("reporting", state=Report, start=start, routes={start: read})
    run = await run_of(registry, workflow, person)
    assert run.result is not None, run.error_message
    assert run.result["text"] == f"report.csv text/csv {CSV}"
    file = await file_of(run)
    assert run.result["file"] == str(file.pk)
    assert (file.node_name, file.sequence, file.attempt) == (start.name, 1, 1)
    assert (file.size, file.content_type) == (len(CSV), "text/csv")
    assert stored() == [file.pk.hex]
    event = await run_in_db(AuditEvent.objects.get, run=run, action="add file")
    assert event.after == sealed_values(file)
    assert "report.csv" not in str(event.after), "names may be personal data"
    assert await findings() == []


async def test_a_file_is_made_of_bytes_text_and_paths_of_any_type(
    registry: Registry, person: User, tmp_path: Path
) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(b"\x00\x01")

    @node
    async def several(state: Report, runtime: Runtime) -> Report:
        add = runtime.documents.add
        made = [
            await add("a.json", "{}"),
            await add("notes", "é"),
            await add("a.bin", local),
            await add("a.pdf", b"%PDF-1.7"),
            await add("empty.csv", b""),
            await add("a.html", "<p>", content_type="text/html; charset=utf-8"),
        ]
        return state.set(files=tuple(made))

    run = await run_of(registry, only(several), person)
    assert run.status == "completed", run.error_message
    rows = await run_in_db(lambda: list(run.files.all()))
    assert [(row.name, row.content_type, row.size) for row in rows] == [
        ("a.json", "application/json", 2),
        ("notes", "text/plain", 2),
        ("a.bin", "application/octet-stream", 2),
        ("a.pdf", "application/pdf", 8),
        ("empty.csv", "text/csv", 0),
        ("a.html", "text/html; charset=utf-8", 3),
    ]


async def test_the_items_of_a_parallel_node_make_a_file_each_of_one_name(
    registry: Registry, person: User
) -> None:
    async def one(name: str, runtime: Runtime) -> UUID:
        return await runtime.documents.add("page.txt", name)

    each = parallel(one, over="names", into="files")
    run = await run_of(registry, only(each), person)
    assert run.result is not None, run.error_message
    rows = await run_in_db(lambda: list(run.files.all()))
    assert sorted(str(row.pk) for row in rows) == sorted(run.result["files"])
    assert [row.name for row in rows] == ["page.txt"] * 2
    assert len({row.key for row in rows}) == 2


async def test_two_calls_at_once_make_one_file(
    registry: Registry, person: User
) -> None:
    @node
    async def twice(state: Report, runtime: Runtime) -> Report:
        add = runtime.documents.add
        return state.set(
            files=tuple(await asyncio.gather(*(add("a.csv", CSV) for _ in range(5))))
        )

    run = await run_of(registry, only(twice), person)
    assert run.result is not None, run.error_message
    file = await file_of(run)
    assert set(run.result["files"]) == {str(file.pk)}
    assert stored() == [file.pk.hex]


async def test_other_content_under_one_name_fails_with_node_and_file(
    registry: Registry, person: User
) -> None:
    @node
    async def differ(state: Report, runtime: Runtime) -> Report:
        await runtime.documents.add("a.csv", "1")
        await runtime.documents.add("a.csv", "2")
        return state

    run = await run_of(registry, only(differ), person)
    assert run.status == "failed"
    assert "The file “a.csv” of the node “differ” exists with other" in (
        run.error_message
    )
    assert len(stored()) == 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("", "x", None), "The node “bad” made a file without a name"),
        ((3, "x", None), "The node “bad” made a file without a name"),
        (("a/b", "x", None), "a name is without folders and control characters"),
        (("a\x00b", "x", None), "a name is without folders and control characters"),
        (("x" * 201, "x", None), "whose name has 201 characters"),
        (("a", 3, None), "The file “a” of the node “bad” is a int: give bytes"),
        (("a", "\ud800", None), "The file “a” of the node “bad” is no valid text"),
        (("a", "x", "text"), "has the content type 'text', which is none"),
        (("a", "x", "text/html\r\nx: y"), "which is none"),
        (("a", Path("/none"), None), "cannot be read from /none: No such file"),
        (("a", Path("/"), None), "cannot be read from /: "),
        (("a", Path("/dev/zero"), None), "it is not a regular file"),
        (("a", "x" * 1_001, None), "is larger than 0.001 MB"),
    ],
)
async def test_a_file_that_cannot_be_made_fails_its_run_with_a_sentence(
    registry: Registry, person: User, settings: Any, given: Any, complaint: str
) -> None:
    settings.MAX_RUN_FILE_BYTES = 1_000
    name, content, kind = given

    @node
    async def bad(state: Report, runtime: Runtime) -> Report:
        await runtime.documents.add(name, content, content_type=kind)
        return state

    run = await run_of(registry, only(bad), person)
    assert run.status == "failed"
    assert complaint in run.error_message
    assert stored() == []


class Hostile(str):
    """A text whose methods end the process, where they are called outside of its node."""

    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit

    def encode(self, *_: Any) -> bytes:
        raise SystemExit


async def test_texts_of_author_classes_are_stored_as_plain_ones(
    registry: Registry, person: User
) -> None:
    @node
    async def odd(state: Report, runtime: Runtime) -> Report:
        made = await runtime.documents.add(Hostile("a.csv"), Hostile("x"))
        return state.set(file=made)

    run = await run_of(registry, only(odd), person)
    assert run.status == "completed", run.error_message
    file = await file_of(run)
    assert (file.name, file.content_type, file.size) == ("a.csv", "text/csv", 1)


async def test_a_named_pipe_does_not_block_the_node(
    registry: Registry, person: User, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")

    @node
    async def bad(state: Report, runtime: Runtime) -> Report:
        await runtime.documents.add("a", tmp_path / "pipe")
        return state

    run = await run_of(registry, only(bad), person)
    assert "it is not a regular file" in run.error_message


async def test_a_failing_storage_is_retried_by_the_policy_of_the_node(
    registry: Registry, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = run_files.store, []

    def fails_once(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise StorageFailed
        store(*args)

    monkeypatch.setattr(run_files, "store", fails_once)

    @node(retry=Retry(attempts=2, on=StorageFailed, wait=0))
    async def again(state: Report, runtime: Runtime) -> Report:
        return state.set(file=await runtime.documents.add("a.csv", CSV))

    run = await run_of(registry, only(again), person)
    assert run.status == "completed", run.error_message
    assert len(stored()) == 1


# Crashes ------------------------------------------------------------------------------------


async def test_a_step_that_runs_again_finds_the_file_that_it_made(
    registry: Registry, person: User
) -> None:
    tries = []

    @node(retry=Retry(attempts=2, wait=0))
    async def again(state: Report, runtime: Runtime) -> Report:
        made = await runtime.documents.add("a.csv", CSV)
        tries.append(made)
        if len(tries) == 1:
            raise OSError("the step ends after its file")
        return state.set(file=made)

    run = await run_of(registry, only(again), person)
    assert run.status == "completed", run.error_message
    file = await file_of(run)
    assert tries == [file.pk, file.pk]
    assert stored() == [file.pk.hex]


async def test_an_interrupted_try_leaves_its_file_recorded(
    registry: Registry, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, go_on = SharedEvent(), SharedEvent()
    store = run_files.store

    def slow(*args: Any) -> None:
        storing.set()
        asyncio.run(go_on.wait())
        store(*args)

    monkeypatch.setattr(run_files, "store", slow)

    @node(timeout=0.2, retry=Retry(attempts=1))
    async def late(state: Report, runtime: Runtime) -> Report:
        return state.set(file=await runtime.documents.add("a.csv", CSV))

    registry.register(only(late))
    run = await run_in_db(System(registry).execute, "reporting", {}, by=person)
    async with working(registry):
        await storing.wait()
        run = await ended(run.pk)
        assert run.status == "failed"
        assert stored() == []
        monkeypatch.setattr(run_files, "store", store)
        deleted = SharedEvent()

        def note(files: Any) -> int:
            count = delete_files(files)
            deleted.set()
            return count

        monkeypatch.setattr(run_files, "delete_files", note)
        go_on.set()
        async with asyncio.timeout(20):
            await deleted.wait()
    assert stored() == [], "the run had ended, so nothing is recorded any more"
    assert not await run_in_db(RunFile.objects.exists)


# Retention ----------------------------------------------------------------------------------


async def retained_run(registry: Registry, person: User, **rule: int) -> Run:
    """Return a completed run with a file, and let a rule delete what is older than it."""
    run = await run_of(registry, only(write), person)
    old = timezone.now() - dt.timedelta(days=40)
    await run_in_db(Run.objects.filter(pk=run.pk).update, completed_at=old)
    await run_in_db(Retention.objects.create, workflow_name=run.workflow_name, **rule)
    return run


@pytest.mark.parametrize("rule", ["payload_days", "run_days"])
async def test_retention_deletes_the_files_with_the_data_of_the_run(
    registry: Registry, person: User, rule: str
) -> None:
    await retained_run(registry, person, **{rule: 30})
    assert len(stored()) == 1
    (due,) = [one for one in await run_in_db(preview) if one.rule.workflow_name]
    part = due.payloads if rule == "payload_days" else due.runs
    assert part.bytes > len(CSV)
    counts = await run_in_db(purge_due)
    assert counts.payloads + counts.runs == 1
    assert not await run_in_db(RunFile.objects.exists)
    assert stored() == []
    assert await findings() == []


async def test_deleting_a_run_deletes_its_files(
    registry: Registry, person: User
) -> None:
    run = await run_of(registry, only(write), person)
    await run_in_db(System(registry).delete_run, run.pk, by=None, reason="test")
    assert not await run_in_db(RunFile.objects.exists)
    assert stored() == []


async def test_a_file_of_a_shared_step_remains_until_the_last_fork_is_deleted(
    registry: Registry, person: User
) -> None:
    workflow = Workflow("reporting", state=Report, start=write, routes={write: read})
    origin = await run_of(registry, workflow, person)
    file = await file_of(origin)
    system, forks = System(registry), []
    async with working(registry):
        for _ in range(2):
            made = await run_in_db(system.fork, origin.pk, ForkRequest(2), by=None)
            forks.append(await ended(made.pk))
    for left in ([origin, *forks], forks, forks[1:]):
        for run in left:
            listed = await run_in_db(files_listed, run)
            assert listed == ([file] if run is left[0] or origin in left else [])
        assert (await run_in_db(RunFile.objects.get)).run_id == left[0].pk
        assert await findings() == []
        await run_in_db(system.delete_run, left[0].pk, by=None, reason="test")
    assert not await run_in_db(RunFile.objects.exists)
    assert stored() == []


async def test_a_fork_before_the_step_does_not_share_its_file(
    registry: Registry, person: User
) -> None:
    origin = await run_of(registry, only(write), person)
    system = System(registry)
    async with working(registry):
        made = await run_in_db(system.fork, origin.pk, ForkRequest(1), by=None)
        fork = await ended(made.pk)
    (own,) = await run_in_db(files_listed, fork)
    assert fork.result is not None
    assert fork.result["file"] == str(own.pk)
    await run_in_db(system.delete_run, origin.pk, by=None, reason="test")
    assert stored() == [own.pk.hex]


async def test_prune_media_deletes_only_files_without_a_row(
    registry: Registry, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_of(registry, only(write), person)
    file = await file_of(run)
    default_storage.save(f"run-files/{run.pk}/left", ContentFile(b"x"))
    monkeypatch.setattr(prune_media, "GRACE_PERIOD", dt.timedelta(0))
    await run_in_db(call_command, "prune_media", stdout=io.StringIO())
    assert stored() == [file.pk.hex]


# In memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [write, write_in_thread], ids=["async", "thread"])
def test_a_test_in_memory_reads_what_was_made(start: Any) -> None:
    runtime = FakeRuntime()
    outcome = run_in_memory(only(start), runtime=runtime)
    (made,) = runtime.documents.made
    assert (made.name, made.content, made.content_type, made.node) == (
        "report.csv",
        CSV.encode(),
        "text/csv",
        start.name,
    )
    assert outcome.state.file == made.id


def test_other_content_under_one_name_fails_in_memory_as_well() -> None:
    @node
    async def differ(state: Report, runtime: Runtime) -> Report:
        await runtime.documents.add("a.csv", "1")
        await runtime.documents.add("a.csv", "2")
        return state

    outcome = run_in_memory(only(differ), runtime=FakeRuntime())
    assert "The file “a.csv” of the node “differ” exists" in str(outcome.error)


async def test_a_node_can_be_called_by_a_test_without_a_run() -> None:
    runtime = FakeRuntime()
    after = await write.function(Report(), runtime)
    assert after.file is not None
    assert await runtime.documents.read(after.file) == CSV.encode()


def test_a_thread_node_can_be_called_by_a_test_without_a_run() -> None:
    runtime = FakeRuntime()
    after = write_in_thread.function(Report(), runtime)
    assert [one.id for one in runtime.documents.made] == [after.file]


async def test_waiting_for_a_service_on_the_event_loop_is_refused() -> None:
    @node
    async def wrong(state: Report, runtime: Runtime) -> Report:
        return state.set(file=runtime.result_of(runtime.documents.add("a", "b")))

    outcome = await run_in_memory_async(only(wrong), runtime=FakeRuntime())
    assert "in an “async def” node, await the call" in str(outcome.error)
