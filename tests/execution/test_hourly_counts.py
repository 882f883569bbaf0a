"""Hourly counts of ended runs and taken edges."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from tests.support.factories import make_decision, make_run, make_user
from workflows.execution import hourly_counts
from workflows.models import Decision, EdgeTally, Run, RunTally, Status, Tally
from workflows.models.id_ranges import decisions_between

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


def due() -> None:
    """Make the next count due."""
    Tally.objects.update(next_at=timezone.now())


def ended(status: str = Status.COMPLETED, *, ago: dt.timedelta = dt.timedelta()) -> Run:
    return make_run(status=status, completed_at=timezone.now() - ago)


def counts() -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in RunTally.objects.all():
        key = (row.workflow_name, row.status)
        found[key] = found.get(key, 0) + row.count
    return found


def test_runs_are_counted_by_workflow_and_end() -> None:
    ended()
    ended()
    ended(Status.FAILED)
    ended(ago=50 * HOUR)
    make_run(status=Status.RUNNING)
    assert hourly_counts.count_due()
    assert counts() == {
        ("classify-document", "completed"): 3,
        ("classify-document", "failed"): 1,
    }
    assert RunTally.objects.filter(hour__lt=timezone.now() - 49 * HOUR).count() == 1


def test_edges_are_counted_with_their_outcomes() -> None:
    run, person = make_run(), make_user()
    make_decision(run, sequence=1)
    make_decision(run, sequence=2, decided_by=person)
    make_decision(run, sequence=3, taken=False)
    make_decision(run, sequence=3, target="review", index=1)
    assert hourly_counts.count_due()
    rows = EdgeTally.objects.values_list("to_node", "taken", "rejected", "by_people")
    assert sorted(rows) == [("publish", 2, 1, 1), ("review", 1, 0, 0)]


def test_counting_again_without_new_rows_changes_nothing() -> None:
    ended()
    assert hourly_counts.count_due()
    due()
    assert not hourly_counts.count_due()


def test_new_rows_are_counted_exactly_once() -> None:
    ended()
    hourly_counts.count_due()
    for _ in range(3):
        ended()
        due()
        assert hourly_counts.count_due()
    assert counts() == {("classify-document", "completed"): 4}


def test_no_one_counts_before_the_pause_is_over() -> None:
    ended()
    assert hourly_counts.count_due()
    ended()
    assert not hourly_counts.count_due()


def test_a_count_that_is_interrupted_is_repeated_within_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended()
    with monkeypatch.context() as broken:
        broken.setattr(hourly_counts, "_count", interrupt)
        with pytest.raises(ConnectionError):
            hourly_counts.count_due()
    left = Tally.objects.get().next_at - timezone.now()
    assert left <= dt.timedelta(minutes=1)
    due()
    assert hourly_counts.count_due()
    assert counts() == {("classify-document", "completed"): 1}


def interrupt(*_: object) -> None:
    """Fail like a count during an outage of the database."""
    raise ConnectionError


def test_counts_of_closed_hours_survive_the_deletion_of_their_runs() -> None:
    old = ended(ago=30 * HOUR)
    hourly_counts.count_due()
    old.delete()
    ended()
    due()
    hourly_counts.count_due()
    assert counts() == {("classify-document", "completed"): 2}


def test_a_row_that_is_written_late_is_still_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended()
    hourly_counts.count_due()
    ended(ago=dt.timedelta(minutes=50))
    due()
    monkeypatch.setattr(hourly_counts, "_newest", lambda: "another")
    hourly_counts.count_due()
    assert counts() == {("classify-document", "completed"): 2}


def test_a_long_history_is_counted_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hourly_counts, "SLICE_SECONDS", -1.0)
    for days in range(5):
        ended(ago=days * 24 * HOUR)
    turns = 0
    while hourly_counts.count_due():
        turns += 1
        assert turns < 10
    assert counts() == {("classify-document", "completed"): 5}
    assert turns > 3


def test_all_counts_can_be_rebuilt() -> None:
    ended(ago=30 * HOUR)
    hourly_counts.count_all()
    hourly_counts.count_all()
    assert counts() == {("classify-document", "completed"): 1}


def test_decisions_of_a_period_are_found_by_their_ids() -> None:
    run, now = make_run(), timezone.now()
    made = [
        make_decision(run, sequence=n, created_at=now - (40 - n) * HOUR).pk
        for n in range(40)
    ]
    for since, until in ((None, None), (10, 5), (39, None), (None, 30), (3, 2)):
        first = None if since is None else now - since * HOUR
        last = None if until is None else now - until * HOUR
        rows = decisions_between(first, last).order_by("pk")
        wanted = Decision.objects.filter(pk__in=made).order_by("pk")
        if first:
            wanted = wanted.filter(created_at__gte=first)
        if last:
            wanted = wanted.filter(created_at__lt=last)
        assert list(rows) == list(wanted)
    assert list(decisions_between(now + HOUR, None)) == []


def test_a_period_without_decisions_has_no_rows() -> None:
    now = timezone.now()
    assert list(decisions_between(now - HOUR, now)) == []
    assert hourly_counts.count_due() in {True, False}
