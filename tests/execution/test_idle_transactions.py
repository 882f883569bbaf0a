"""A worker stopped inside a transaction: its locks are released, and it continues afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.support.factories import make_run
from workflows.infra import outages
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_transaction_that_the_server_ended_is_an_outage_and_not_a_fault() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could end a transaction.")
    run = make_run(status="pending")
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = 50")
    with pytest.raises(DatabaseError) as raised:
        change_too_slowly(run)
    assert outages.is_unavailable(raised.value), "whoever wrote waits, and writes again"
    connection.close()
    assert Run.objects.get(pk=run.pk).priority == 0


@transaction.atomic
def change_too_slowly(run: Run) -> None:
    """Lock a run, and write only after the server has ended the session for that."""
    Run.objects.select_for_update().get(pk=run.pk)
    _until_ended(connection.connection)
    Run.objects.filter(pk=run.pk).update(priority=1)


def _until_ended(session: Any) -> None:
    """Return when the server has ended the session: its socket is readable."""
    import select

    ready, _, _ = select.select([session], [], [], 20)
    assert ready
