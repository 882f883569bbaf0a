"""Documents used by a workflow's runs: they are as restricted as the workflow's values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

from workflows.models import Document, DocumentUse

ID_LENGTHS = {32, 36}  # without and with hyphens


def note(workflow_name: str, params: Mapping[str, object]) -> None:
    """Record which documents a run's params contain.

    A private document becomes restricted to people who may read the workflow's runs, also
    after the run is deleted.
    """
    ids = set(_ids_in(params))
    if not ids:
        return
    known = Document.objects.filter(pk__in=ids).exclude(
        uses__workflow_name=workflow_name
    )
    new = [DocumentUse(document=one, workflow_name=workflow_name) for one in known]
    if new:
        DocumentUse.objects.bulk_create(new, ignore_conflicts=True)


def _ids_in(params: Mapping[str, object]) -> Iterator[UUID]:
    """Yield every UUID in a nested JSON value."""
    left: list[object] = [params]
    while left:
        value = left.pop()
        if isinstance(value, str):
            if len(value) in ID_LENGTHS:
                yield from _as_id(value)
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value


def _as_id(text: str) -> Iterator[UUID]:
    try:
        yield UUID(text)
    except ValueError:
        return
