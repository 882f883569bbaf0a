"""bench.history fills the current schema, and pages show its data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from bench import history_rows
from tests.support.factories import make_run
from workflows.models import Decision, Run, Stage


@pytest.mark.django_db(transaction=True)
def test_a_history_has_the_requested_runs_and_decisions(
    alice: User, sign_in: Callable[[User], Client]
) -> None:
    history_rows.fill(runs=40, decisions=300, days=3)
    assert (Run.objects.count(), Decision.objects.count()) == (40, 300)
    assert Stage.objects.exists()
    page = sign_in(alice)
    newest = Run.objects.first()
    assert newest is not None
    for path in ("/", "/runs/", "/decisions/", f"/runs/{newest.pk}/"):
        assert page.get(path).status_code == 200, path


@pytest.mark.django_db
def test_a_history_is_made_in_an_empty_database_only() -> None:
    make_run()
    with pytest.raises(ValueError, match="empty"):
        history_rows.fill()
