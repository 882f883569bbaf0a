"""What each step changed in the state, read from the checkpoints."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from tests.support.factories import make_checkpoint, make_run
from workflows.engine.errors import CheckpointMismatch
from workflows.execution import state_changes
from workflows.execution.state_changes import Change, changes_of, describe_patch
from workflows.infra.page_cache import page_cache
from workflows.models import Checkpoint, Run

pytestmark = pytest.mark.django_db

STARTED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def clear_cache() -> None:
    """Clear the cache of changes."""
    page_cache.clear()


def a_run(*states: dict[str, Any] | list[dict[str, Any]]) -> Run:
    """Return a run with these checkpoints: a state is a keyframe, a list of operations a patch."""
    run = make_run(sequence=len(states) - 1)
    for sequence, state in enumerate(states):
        kind = (
            Checkpoint.Kind.DELTA if isinstance(state, list) else Checkpoint.Kind.FULL
        )
        text = json.dumps(state)
        make_checkpoint(run, sequence=sequence, kind=kind, data=text, bytes=len(text))
    return run


def stages(*sequences: int, start: dt.datetime = STARTED) -> dict[int, dt.datetime]:
    """Return the starts of the stages of these steps."""
    return dict.fromkeys(sequences, start)


def test_a_change_has_the_value_before_it() -> None:
    run = a_run(
        {"label": "a", "pages": []},
        [{"op": "replace", "path": "/label", "value": "b"}],
        [{"op": "add", "path": "/pages/-", "value": 1}],
    )
    found = changes_of(run.pk, stages(1, 2))
    assert found[1].listed == (Change("label", "replaced", '"a"', '"b"'),)
    assert found[2].listed == (Change("pages", "appended", None, "[1]"),)


def test_an_intermediate_full_state_is_compared_too() -> None:
    run = a_run({"n": 1, "kept": [1, 2]}, {"n": 2, "kept": [1, 2], "new": None})
    assert set(changes_of(run.pk, stages(1))[1].listed) == {
        Change("new", "added", None, "null"),
        Change("n", "replaced", "1", "2"),
    }


def test_steps_in_the_middle_are_rebuilt_from_the_nearest_full_state() -> None:
    run = a_run(
        {"n": 0},
        [{"op": "replace", "path": "/n", "value": 1}],
        {"n": 2},
        [{"op": "replace", "path": "/n", "value": 3}],
    )
    assert changes_of(run.pk, stages(3))[3].listed == (
        Change("n", "replaced", "2", "3"),
    )


def test_positions_in_lists_are_counted_from_one() -> None:
    (change,) = describe_patch(
        [{"op": "remove", "path": "/rows/0/a~1b"}], {"rows": [{"a/b": 5}]}
    ).listed
    assert change == Change("rows / 1 / a/b", "removed", "5", None)


def test_items_added_to_one_list_count_together() -> None:
    patch = [{"op": "add", "path": "/texts/-", "value": n} for n in range(3)]
    (change,) = describe_patch(patch).listed
    assert (change.kind, change.count, change.after) == ("appended", 3, "[0, 1, 2]")


def test_many_changes_are_counted_and_long_values_truncated() -> None:
    patch = [{"op": "add", "path": f"/k{n}", "value": "x" * 9_000} for n in range(40)]
    found = describe_patch(patch)
    assert len(found.listed) == state_changes.MAX_CHANGES
    assert found.hidden == 40 - state_changes.MAX_CHANGES
    assert found.listed[0].after is not None
    assert "more characters" in found.listed[0].after
    assert len(found.listed[0].after) < 2_100


def test_states_too_large_to_compare_are_described_by_their_patches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_changes, "MAX_BYTES", 10)
    run = a_run(
        {"label": "a long one"},
        [{"op": "replace", "path": "/label", "value": "b"}],
        {"label": "c"},
    )
    found = changes_of(run.pk, stages(1, 2))
    assert found[1].listed == (Change("label", "replaced", None, '"b"'),)
    assert not found[2].is_known


def test_computed_changes_are_not_read_again(
    django_assert_num_queries: Any,
) -> None:
    run = a_run({"n": 0}, [{"op": "replace", "path": "/n", "value": 1}])
    first = changes_of(run.pk, stages(1))
    with django_assert_num_queries(0):
        assert changes_of(run.pk, stages(1)) == first


def test_a_step_that_ran_again_after_a_database_rewind_is_read_again() -> None:
    run = a_run({"n": 0}, [{"op": "replace", "path": "/n", "value": 1}])
    changes_of(run.pk, stages(1))
    patch = [{"op": "replace", "path": "/n", "value": 2}]
    Checkpoint.objects.filter(run=run, sequence=1).update(data=json.dumps(patch))
    again = changes_of(run.pk, stages(1, start=STARTED + dt.timedelta(seconds=1)))
    assert again[1].listed == (Change("n", "replaced", "0", "2"),)


def test_a_damaged_checkpoint_is_named() -> None:
    run = a_run({"n": 0}, [{"op": "replace", "path": "/m/x", "value": 1}])
    with pytest.raises(CheckpointMismatch, match="checkpoint of step 1"):
        changes_of(run.pk, stages(1))


def test_steps_without_checkpoints_are_left_out() -> None:
    assert changes_of(make_run().pk, stages(0, 1, 2)) == {}
