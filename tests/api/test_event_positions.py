"""The events of a run, cut anywhere and continued, are its history exactly once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.factories import (
    make_approval,
    make_decision,
    make_line,
    make_run,
    make_stage,
)
from workflows.api.live import list_source, run_source
from workflows.api.live.frames import Event
from workflows.api.live.run_source import Position, RunSource
from workflows.api.live.viewers import Viewer
from workflows.errors import InvalidCursor
from workflows.models import (
    ApprovalStatus,
    EventMessage,
    EventWait,
    EventWaitStatus,
    Run,
    Stage,
    StageStatus,
    Status,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
CHUNK = 3  # rows in an event, so that most histories need several


@dataclass
class Writer:
    """Writes the history of a run as its worker and people do."""

    run: Run
    step: int = 1

    def change(self, **fields: Any) -> None:
        Run.objects.filter(pk=self.run.pk).update(version=F("version") + 1, **fields)
        self.run.refresh_from_db()

    def stage(self) -> None:
        """End a step with three decisions and two lines, after the response if it waits."""
        if self.run.approvals.filter(status=ApprovalStatus.OPEN).exists():
            self.respond()
        if self.run.event_waits.filter(status=EventWaitStatus.OPEN).exists():
            self.receive()
        place = {"run": self.run, "sequence": self.step, "attempt": self.run.attempt}
        waiting = Stage.objects.filter(**place, status=StageStatus.WAITING)
        if not waiting.update(status=StageStatus.COMPLETED):
            make_stage(self.run, sequence=self.step)
        for index in range(3):
            make_decision(self.run, sequence=self.step, index=index, taken=index == 2)
        self.lines()
        self.step += 1
        self.change(sequence=self.step - 1)

    def lines(self) -> None:
        for _ in range(2):
            number = self.run.log_lines.filter(attempt=self.run.attempt).count() + 1
            make_line(self.run, number=number, sequence=self.step)
        self.change()

    def rewind_line(self) -> None:
        """Add the line before the first of an attempt, late."""
        found = {"attempt": self.run.attempt, "number": 0}
        if not self.run.log_lines.filter(**found).exists():
            make_line(self.run, "The database went back.", **found)
            self.change()

    def pause(self) -> None:
        """Wait for an approval, unless the step has waited already."""
        if self.run.approvals.filter(sequence=self.step).exists():
            return
        make_stage(self.run, sequence=self.step, status=StageStatus.WAITING)
        make_approval(self.run, sequence=self.step)
        self.change()

    def respond(self) -> None:
        """Close the approval; the next attempt takes the row of the pause over."""
        answered = {"status": ApprovalStatus.ANSWERED, "responded_at": timezone.now()}
        self.run.approvals.filter(status=ApprovalStatus.OPEN).update(**answered)
        self.attempt()

    def wait(self) -> None:
        """Wait for the first of two events, unless the step has waited already."""
        if self.run.event_waits.filter(sequence=self.step).exists():
            return
        for position in range(2):
            EventWait.objects.create(
                run=self.run,
                sequence=self.step,
                position=position,
                workflow_name=self.run.workflow_name,
                node_name="paid",
            )
        self.change()

    def receive(self) -> None:
        """Close the first wait with a message, and the other one."""
        waits = self.run.event_waits.filter(sequence=self.step)
        name = self.run.workflow_name
        message = EventMessage.objects.create(workflow_name=name, value=self.step)
        waits.filter(position=0).close(EventWaitStatus.RECEIVED, message=message)
        waits.close(EventWaitStatus.WITHDRAWN)
        self.attempt()

    def attempt(self) -> None:
        self.change(attempt=self.run.attempt + 1)
        waiting = self.run.stages.filter(status=StageStatus.WAITING)
        waiting.update(attempt=self.run.attempt)

    def end(self) -> None:
        values = {"status": Status.CANCELLED, "lease_expires_at": None}
        self.change(**values, completed_at=timezone.now())


@dataclass
class Reader:
    """A client that keeps what it receives and reconnects with the last id."""

    run: Run
    viewer: Viewer
    last: str = ""
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        self.source = RunSource(self.run.pk, self.viewer, Position.read(self.last))

    def read(self) -> bool:
        event = self.source.read()
        if event is not None:
            assert str(Position.read(event.id)) == event.id
            self.events.append(event)
            self.last = event.id
        return event is not None

    def drop(self) -> None:
        """Lose an event that was sent and not received, then connect again."""
        self.source.read()
        self.connect()

    def received(self, kind: str, *key: str) -> list[tuple[Any, ...]]:
        rows = [row for event in self.events for row in getattr(event.data, kind)]
        return [tuple(getattr(row, name) for name in key) for row in rows]


STEPS = (
    *("stage", "lines", "rewind_line", "pause", "respond", "attempt"),
    *("wait", "receive"),
)
READS = ("read", "drop", "connect")


@given(st.lists(st.sampled_from(STEPS + READS), max_size=25))
@example(["stage", "pause", "read", "respond", "connect", "read", "stage", "read"])
@example(["lines", "read", "rewind_line", "connect", "attempt", "lines", "drop"])
@example(["wait", "read", "receive", "connect", "read", "stage", "wait", "drop"])
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_history_cut_anywhere_is_received_exactly_once(
    admin: User, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    monkeypatch.setattr(run_source, "CHUNK", CHUNK)
    with transaction.atomic():
        graph = {"nodes": [{"name": "paid", "kind": "first_of"}]}
        run = make_run(status=Status.RUNNING, graph=graph)
        writer, reader = Writer(run), Reader(run, Viewer(admin))
        for step in steps:
            getattr(reader if step in READS else writer, step)()
        writer.end()
        while reader.read():
            pass
        places = run.stages.values_list("attempt", "sequence")
        assert reader.received("stages", "attempt", "sequence") == list(
            places.order_by("attempt", "sequence")
        )
        key = ("attempt", "sequence", "edge_index")
        assert reader.received("decisions", *key) == list(
            run.decisions.values_list(*key).order_by(*key)
        )
        lines = reader.received("log", "attempt", "number")
        assert len(lines) == len(set(lines))
        assert set(lines) == set(run.log_lines.values_list("attempt", "number"))
        approvals = reader.received("approvals", "sequence", "status")
        assert len(approvals) == len(set(approvals))
        assert set(run.approvals.values_list("sequence", "status")) <= set(approvals)
        waits = reader.received("waits", "sequence", "event", "status", "ended_at")
        last = run.event_waits.values_list("sequence", "name", "status", "closed_at")
        assert set(last) <= set(waits)
        received = {row.message.value for row in sent(reader) if row.message}
        messages = EventMessage.objects.filter(waits__run=run)
        assert received == set(messages.values_list("value", flat=True))
        versions = [event.data.run.version for event in reader.events]  # type: ignore[attr-defined]
        assert versions == sorted(versions)
        assert versions[-1] == writer.run.version
        assert reader.source.is_over
        transaction.set_rollback(True)


def sent(reader: Reader) -> list[Any]:
    """Return the waits that a client has received, in order."""
    events: list[Any] = [event.data for event in reader.events]
    return [row for event in events for row in event.waits]


def test_an_id_of_an_earlier_release_is_continued() -> None:
    old = "7-1.2-1.1.3-1.4.0-2.0000abcd"
    read = Position.read(old)
    assert str(read) == f"{old}-0.00000000"
    assert Position.read(str(read)) == read


def test_a_wait_is_sent_again_only_when_it_has_changed(admin: User) -> None:
    run = make_run(
        status=Status.RUNNING, graph={"nodes": [{"name": "paid", "kind": "event"}]}
    )
    writer, reader = Writer(run), Reader(run, Viewer(admin))
    writer.wait()
    reader.read()
    assert [row.status for row in sent(reader)] == ["open", "open"]
    reader.connect()
    writer.lines()
    reader.read()
    assert len(sent(reader)) == 2
    writer.receive()
    reader.read()
    assert [row.status for row in sent(reader)[2:]] == ["received", "withdrawn"]
    assert sent(reader)[2].message.value == 1


def test_a_restored_database_resets_the_history(admin: User) -> None:
    run = make_run(status=Status.RUNNING, version=9)
    make_stage(run)
    reader = Reader(run, Viewer(admin))
    assert reader.read()
    Run.objects.filter(pk=run.pk).update(version=4)
    reader.connect()
    assert reader.read()
    event: Any = reader.events[-1].data
    assert event.reset
    assert [stage.sequence for stage in event.stages] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "1-1.1-1.1.1-1.1.1-0.00000000-99999999999.00000000",
        *("7", "x", "7-1.1-1.1.1-1.1.0-0", "1-1.1-1.1.1-1.1.2-0.00000000"),
        *("9999999999-1.1-1.1.1-1.1.1-0.00000000", "1-1.1-1.1.1-1.1.1-0.0000000g"),
    ],
)
def test_an_id_of_no_event_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        Position.read(text)


@given(st.binary(max_size=64), st.text(max_size=20))
def test_ids_of_lists_are_read_back_or_refused(content: bytes, text: str) -> None:
    size = list_source.DIGEST_BYTES
    cut = content[: len(content) // size * size]
    digests = tuple(cut[start : start + size] for start in range(0, len(cut), size))
    assert list_source.decode(list_source.encode(digests)) == digests
    with suppress(InvalidCursor):
        list_source.decode(text)


def test_a_list_sends_each_content_of_a_row_once(admin: User) -> None:
    from workflows.api.filters import RunQuery

    page = list_source.runs_page(RunQuery(status=Status.FAILED), 2, Viewer(admin))

    def source(last: str) -> list_source.ListSource:
        return list_source.ListSource("runs", page, Viewer(admin), last)

    failed = [make_run(status=Status.FAILED) for _ in range(2)]
    make_run(status=Status.COMPLETED)
    followed = source("")
    first = followed.read()
    assert first is not None
    data: Any = first.data
    assert data.ids == [run.pk for run in reversed(failed)]
    assert followed.read() is None
    assert source(first.id).read() is None
    newest = make_run(status=Status.FAILED)
    Run.objects.filter(pk=failed[1].pk).update(version=5)
    for reader in (followed, source(first.id)):
        second = reader.read()
        assert second is not None
        data = second.data
        assert data.ids == [newest.pk, failed[1].pk]
        assert [row.id for row in data.items] == data.ids
    Run.objects.filter(pk=newest.pk).update(workflow_name="other", status="cancelled")
    third = followed.read()
    assert third is not None
    data = third.data
    assert data.ids == [failed[1].pk, failed[0].pk]
    assert [row.id for row in data.items] == [failed[0].pk]
