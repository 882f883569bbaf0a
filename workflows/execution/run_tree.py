"""Parent and child runs, read by recursive SQL.

Only a waiting run has children that have not ended: one, or as many at once as the node
for a list permits. The tree is at most as deep as the depth limit; one from before the limit
existed may be much deeper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection
from django.db.models import Q

from workflows.models import CANCELLABLE, RESUMABLE, Run, SharedChild

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.db.models import QuerySet

_RUNS = Run._meta.db_table  # noqa: SLF001 - Django's documented model API
_ABOVE = f"""
    WITH RECURSIVE above(parent_id, depth) AS (
        SELECT parent_id, 0 FROM {_RUNS} WHERE id = %s
        UNION ALL
        SELECT run.parent_id, above.depth + 1
        FROM above JOIN {_RUNS} AS run ON run.id = above.parent_id
        WHERE above.depth < %s
    )
    SELECT MAX(depth) FROM above
"""  # noqa: S608 - names are ours
_BELOW = f"""
    WITH RECURSIVE below(id, depth) AS (
        SELECT run.id, 1 FROM {_RUNS} AS run
        WHERE run.parent_id IN ({{parents}}) AND {{cancellable}}
        UNION ALL
        SELECT run.id, below.depth + 1
        FROM below JOIN {_RUNS} AS run ON run.parent_id = below.id
        WHERE {{cancellable}}
    )
    SELECT id FROM below ORDER BY depth, id LIMIT %s
"""  # noqa: S608 - names are ours
_CANCELLABLE = (
    "run.cancel_requested_at IS NULL AND run.closing IS NULL"
    " AND run.status IN ({statuses})"
)


def depth_of(run_id: UUID, limit: int) -> int:
    """Return the number of runs above this one, counted up to `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(_ABOVE, [_key(run_id), limit])
        row = cursor.fetchone()
    return int(row[0] or 0)


def unfinished_below(run_ids: Sequence[UUID], limit: int) -> Sequence[UUID]:
    """Return the unfinished runs below some runs, from the top down, at most `limit`.

    Without those whose cancel was requested, and the runs below them.
    """
    statuses = [status.value for status in CANCELLABLE]
    cancellable = _CANCELLABLE.format(statuses=_marks(statuses))
    query = _BELOW.format(parents=_marks(run_ids), cancellable=cancellable)
    values = [*map(_key, run_ids), *statuses, *statuses, limit]
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        found = [row[0] for row in cursor.fetchall()]
    return [Run._meta.pk.to_python(pk) for pk in found]  # noqa: SLF001 - likewise


def children_of(parents: Sequence[UUID], *, after: int = 0) -> QuerySet[Run]:
    """Return the child runs for which these runs waited after a step, also shared ones."""
    own = Q(parent__in=parents, parent_sequence__gt=after)
    shared = SharedChild.objects.filter(run__in=parents, sequence__gt=after)
    return Run.objects.filter(own | Q(pk__in=shared.values("child")))


def child_at(run: Run, sequence: int) -> Run | None:
    """Return the newest child run of a step, None if it has none."""
    children = Run.objects.filter(parent=run.pk, parent_sequence=sequence)
    return children.order_by("-id").first()


def innermost_failed(run: Run) -> Run:
    """Return the deepest failed or cancelled run that caused the failure of this one."""
    for _ in range(settings.MAX_SUBWORKFLOW_DEPTH):
        child = child_at(run, run.sequence + 1)
        if child is None or child.status not in RESUMABLE:
            break
        run = child
    return run


def _key(run_id: UUID) -> Any:
    return Run._meta.pk.get_db_prep_value(run_id, connection)  # noqa: SLF001 - likewise


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))
