"""Moves what was recorded in minutes to the times of a week, and seals it again.

The history of a demo is made by real runs. Their times are mapped by one growing function, so
that ids, which are numbered as rows are written, still grow with time. Every moved run is
sealed again with the key of the installation, from the first link: it verifies like any
other, and only runs that the command itself has launched are touched.
"""

from __future__ import annotations

import datetime as dt
import secrets
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.apps import apps
from django.db import models, transaction
from django.db.models import Q

from workflows.audit import keys, sealing_start, seals
from workflows.audit.chain_streams import links
from workflows.models import AuditEvent, Decision, Run, Stage
from workflows.models.id_ranges import run_id_at

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_REFERENCES: Final = frozenset({"run", "run_id"})
UUID_VERSION_AND_VARIANT: Final = (7 << 76) | (2 << 62)
RANDOM_BITS: Final = 62


class Timeline:
    """Maps real times to planned ones: from each mark on, time passes as it did."""

    def __init__(self) -> None:
        self._real: list[dt.datetime] = []
        self._planned: list[dt.datetime] = []

    def mark(self, real: dt.datetime, planned: dt.datetime) -> None:
        """Let what follows `real` be at `planned`; both grow with each call."""
        self._real.append(real)
        self._planned.append(planned)

    @property
    def start(self) -> dt.datetime | None:
        """The first planned time."""
        return self._planned[0] if self._planned else None

    def shift(self, real: dt.datetime) -> dt.timedelta:
        """Return by how much a real time is moved; zero before the first mark."""
        place = bisect_right(self._real, real) - 1
        if place < 0:
            return dt.timedelta()
        return self._planned[place] - self._real[place]


@contextmanager
def runs_created_at(moment: dt.datetime) -> Iterator[None]:
    """Give new runs of this process the ids of a time: lists and periods go by ids."""
    field: Any = Run._meta.get_field("id")  # noqa: SLF001 - Django's documented model API
    default = field.default

    def new_id() -> UUID:
        unique = secrets.randbits(RANDOM_BITS)
        return UUID(int=run_id_at(moment).int | UUID_VERSION_AND_VARIANT | unique)

    _set_default(field, new_id)
    try:
        yield
    finally:
        _set_default(field, default)


def _set_default(field: Any, default: Any) -> None:
    field.default = default
    field.__dict__.pop("_get_default", None)  # Django caches it


def move(run_ids: Sequence[UUID], timeline: Timeline, until: dt.datetime) -> None:
    """Move all rows of these runs, which were recorded before `until`, and seal them again."""
    if timeline.start is not None:
        sealing_start.move_back(timeline.start)
    for run_id in run_ids:
        with transaction.atomic():
            last = _last_recorded(run_id)
            _move_rows(Run.objects.filter(pk=run_id), timeline, until, last)
            for rows in _rows_of(run_id):
                _move_rows(rows, timeline, until, last)
            reseal(run_id)


def _last_recorded(run_id: UUID) -> dt.datetime:
    """Return when the run was recorded last: times in its future are counted from there."""
    stages = Stage.objects.filter(run=run_id).order_by("created_at")
    last = stages.values_list("created_at", flat=True).last()
    return last or Run.objects.values_list("created_at", flat=True).get(pk=run_id)


def _rows_of(run_id: UUID) -> Iterator[models.QuerySet[Any]]:
    """Yield the rows of a run in every table that refers to runs."""
    for model in apps.get_app_config("workflows").get_models():
        names = {field.name for field in _fields(model)} & RUN_REFERENCES
        for name in names:
            manager = model._default_manager  # noqa: SLF001 - Django's documented model API
            yield manager.filter(**{name: run_id})


def _fields(model: type[models.Model]) -> list[Any]:
    return list(model._meta.concrete_fields)  # noqa: SLF001 - Django's documented model API


def _move_rows(
    rows: models.QuerySet[Any],
    timeline: Timeline,
    until: dt.datetime,
    last: dt.datetime,
) -> None:
    names = [
        field.attname
        for field in _fields(rows.model)
        if isinstance(field, models.DateTimeField)
    ]
    if not names:
        return
    for pk, *values in list(rows.values_list("pk", *names)):
        moved = {
            name: value + timeline.shift(value if value <= until else last)
            for name, value in zip(names, values, strict=True)
            if value is not None
        }
        # not `save`, which sets some columns itself
        rows.model._default_manager.filter(pk=pk).update(**moved)  # noqa: SLF001


def reseal(run_id: UUID) -> None:
    """Seal the rows of a run again, in their order, and set its heads."""
    key = keys.sealing()
    tables: dict[str, type[models.Model]] = {
        "stage": Stage,
        "decision": Decision,
        "audit event": AuditEvent,
    }
    heads = {
        False: seals.start(seals.steps_of(run_id)),
        True: seals.start(seals.audit_chain_of(run_id)),
    }
    for row in links(Q(run_id=run_id)):
        if row.link.seal is None:
            continue  # in progress
        chain = row.is_audit_event
        sealed, heads[chain] = seals.add(key, heads[chain], row.link.fields)
        manager = tables[row.link.kind]._default_manager  # noqa: SLF001
        manager.filter(pk=row.link.id).update(seal=sealed)
    Run.objects.filter(pk=run_id).update(
        history_chain_head=heads[False], audit_chain_head=heads[True]
    )
