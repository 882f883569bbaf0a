"""Rows that people name: a row deleted by another request is reported as not found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.factories import make_moment
from workflows.errors import ScheduleNotFound
from workflows.schedules import service
from workflows.services import named_rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.models import Schedule

pytestmark = pytest.mark.django_db


def test_a_row_deleted_before_its_lock_is_not_found(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make_moment().schedule
    find = service.find

    def find_then_delete(schedule_id: str, *, by: User) -> Schedule:
        found = find(schedule_id, by=by)
        type(found).objects.filter(pk=found.pk).delete()
        return found

    monkeypatch.setattr(service, "find", find_then_delete)
    with pytest.raises(ScheduleNotFound):
        service.pause(schedule.pk, by=admin, reason="holidays")


def test_a_locked_row_has_the_values_of_the_database() -> None:
    schedule = make_moment().schedule
    type(schedule).objects.filter(pk=schedule.pk).update(name="renamed")
    assert named_rows.locked(schedule, ScheduleNotFound).name == "renamed"
