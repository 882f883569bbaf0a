"""The states of a run that is being written are read from one snapshot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import pytest

from tests.support.factories import make_run
from workflows.execution.checkpoints import rebuild
from workflows.models import Checkpoint


def add_state(run_id: UUID, sequence: int, kind: str, data: str) -> None:
    Checkpoint.objects.create(
        run_id=run_id,
        attempt=1,
        sequence=sequence,
        kind=kind,
        data=data,
        bytes=len(data),
    )


@pytest.mark.django_db
def test_a_state_is_rebuilt_with_one_query(
    django_assert_num_queries: Callable[[int], AbstractContextManager[object]],
) -> None:
    run = make_run()
    add_state(run.pk, 0, "full", '{"n": 0}')
    add_state(run.pk, 1, "delta", '[{"op": "replace", "path": "/n", "value": 1}]')
    add_state(run.pk, 2, "full", '{"n": 2}')
    add_state(run.pk, 3, "delta", '[{"op": "replace", "path": "/n", "value": 3}]')
    for sequence in range(4):
        with django_assert_num_queries(1):
            state = rebuild(run.pk, sequence)
        assert state is not None
        assert (state.sequence, state.data["n"]) == (sequence, sequence)


@pytest.mark.django_db
def test_a_run_without_states_has_none() -> None:
    assert rebuild(make_run().pk) is None
