"""Rows that are made without the constructor are the rows that it makes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from workflows.models import Attempt, AuditEvent, Run
from workflows.models.new_rows import new_row, stored_row

GENERATED = {"id", "created_at", "updated_at", "started_at"}


def columns_of(row: models.Model) -> dict[str, Any]:
    return {
        field.attname: (type(value := getattr(row, field.attname)), value)
        for field in row._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
        if field.attname not in GENERATED
    }


@pytest.mark.parametrize("model", [Run, AuditEvent, Attempt])
def test_a_new_row_has_the_defaults_of_the_constructor(
    model: type[models.Model],
) -> None:
    made, constructed = new_row(model), model()
    assert columns_of(made) == columns_of(constructed)
    assert made.__dict__.keys() == constructed.__dict__.keys()
    assert made._state.adding  # noqa: SLF001 - what `save` reads
    assert made._state.db is None  # noqa: SLF001 - likewise


def test_new_rows_share_no_default() -> None:
    one, other = new_row(Run), new_row(Run)
    one.params["a"] = 1
    assert other.params == {}
    assert one.pk != other.pk


def test_given_columns_replace_defaults_and_unknown_ones_are_refused() -> None:
    assert new_row(Run, priority=3, parent_id=None).priority == 3
    with pytest.raises(TypeError, match=r"Run has no columns \['parent'\]"):
        new_row(Run, parent=None)


@pytest.mark.django_db
def test_a_stored_row_reads_the_columns_that_it_does_not_have() -> None:
    run = Run.objects.create(workflow_name="w", title="of the row")
    found = stored_row(Run, {"id": run.pk, "workflow_name": "w"}, "default")
    assert found.get_deferred_fields() >= {"title", "graph"}
    assert found.title == "of the row"
    assert not found._state.adding  # noqa: SLF001 - what `save` reads
