"""Very many runs, copied from one by the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils import timezone

from workflows.models import Run, Status

if TYPE_CHECKING:
    from django.db.models import Field

# a UUIDv7 of a growing time, as ids of runs are
ID = """(lpad(to_hex((extract(epoch FROM statement_timestamp()) * 1000)::bigint
- %(count)s + number), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8'
|| substr(md5(random()::text), 1, 15))::uuid"""


def copy_runs(status: str, count: int, **values: Any) -> None:
    """Insert so many runs with these values of their columns; PostgreSQL only.

    They have no stages and no audit events: what grows is the table of runs, which the queue
    and the writer use. Those that have ended do not verify.
    """
    if count <= 0:
        return
    if status == Status.COMPLETED:
        values |= {"completed_at": timezone.now(), "result": {}}
    table = Run._meta.db_table  # noqa: SLF001 - Django's documented model API
    columns = [field.column for field in _copied(Run._meta.concrete_fields)]  # noqa: SLF001
    names = ", ".join(f'"{name}"' for name in columns)
    # at once: a worker must not see the template
    with transaction.atomic(), connection.cursor() as cursor:
        template = Run.objects.create(status=status, **values)
        cursor.execute(
            f"INSERT INTO {table} (id, {names}) SELECT {ID}, {names}"  # noqa: S608 - our own names
            f" FROM {table}, generate_series(1, %(count)s) AS number WHERE id = %(id)s",
            {"count": count, "id": template.pk},
        )
        Run.objects.filter(pk=template.pk).delete()


def _copied(fields: Any) -> list[Field[Any, Any]]:
    return [field for field in fields if not field.primary_key]
