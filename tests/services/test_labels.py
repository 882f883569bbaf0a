"""Labels on runs."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.support.factories import make_run
from workflows.errors import InvalidLabel, RunNotFound
from workflows.models import AuditEvent
from workflows.services.labels import MAX_LABELS
from workflows.system import system

pytestmark = pytest.mark.django_db


def labels_of(run: object) -> list[str]:
    return list(run.labels.values_list("name", flat=True))  # type: ignore[attr-defined]


def test_a_label_is_added_once_with_its_author(alice: User) -> None:
    run = make_run()
    assert (
        system.label(run.pk, "  To   Check ", by=alice, reason="odd page") == "to check"
    )
    system.label(run.pk, "TO CHECK", by=alice)
    assert labels_of(run) == ["to check"]
    row = AuditEvent.objects.get(run=run)
    assert (row.action, row.actor, row.reason) == ("label", alice, "to check: odd page")


def test_removing_a_label_ignores_case_and_is_recorded_once(alice: User) -> None:
    run = make_run()
    system.label(run.pk, "audit", by=alice)
    system.unlabel(run.pk, "Audit", by=alice)
    system.unlabel(run.pk, "audit", by=alice)
    assert labels_of(run) == []
    assert list(AuditEvent.objects.order_by("pk").values_list("action", flat=True)) == [
        "label", "unlabel",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "  ", "a,b", "x" * 41, "a\x00b"])
def test_an_invalid_label_is_refused_and_not_recorded(alice: User, name: str) -> None:
    run = make_run()
    with pytest.raises(InvalidLabel):
        system.label(run.pk, name, by=alice)
    assert labels_of(run) == []
    assert not AuditEvent.objects.exists()


def test_the_number_of_labels_of_a_run_is_limited(alice: User) -> None:
    run = make_run()
    for number in range(MAX_LABELS):
        system.label(run.pk, f"label {number}", by=alice)
    with pytest.raises(InvalidLabel, match="20 labels already"):
        system.label(run.pk, "one more", by=alice)


def test_labels_are_deleted_with_their_run(alice: User) -> None:
    run = make_run()
    system.label(run.pk, "audit", by=alice)
    system.delete_run(run.pk, by=alice, reason="a test")
    with pytest.raises(RunNotFound):
        system.label(run.pk, "audit", by=alice)
