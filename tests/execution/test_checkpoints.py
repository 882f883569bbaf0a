"""Checkpoints: states are rebuilt exactly, and damaged rows are reported."""

from __future__ import annotations

import json
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tests.support.factories import make_run
from workflows.engine import State
from workflows.engine.errors import CheckpointMismatch
from workflows.engine.frozen import FrozenDict, freeze
from workflows.execution.checkpoints import Encoder, rebuild
from workflows.models import Checkpoint, Run

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", exclude_characters="\x00")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
keys = st.sampled_from("abcd")
changes = st.lists(st.tuples(keys, json_values), max_size=12)


def store(run: Run, states: list[FrozenDict]) -> None:
    """Write states as the recorder does."""
    encoder = Encoder()
    for sequence, data in enumerate(states):
        kind, text = encoder.encode(data)
        Checkpoint.objects.create(
            run=run,
            attempt=1,
            sequence=sequence,
            node_name="n",
            kind=kind,
            data=text,
            bytes=len(text),
        )


class RebuildTest(TestCase):
    """Hypothesis needs a transaction for each example, which this class gives."""

    @given(changes)
    def test_any_step_of_any_run_is_rebuilt_type_for_type(
        self, steps: list[tuple[str, object]]
    ) -> None:
        state = State()
        states = [state.data]
        for key, value in steps:
            state = state.set(key, value)
            states.append(state.data)
        run = make_run()
        store(run, states)
        for sequence, data in enumerate(states):
            snapshot = rebuild(run.pk, sequence)
            assert snapshot is not None
            assert json.dumps(snapshot.data, sort_keys=True) == json.dumps(
                data, sort_keys=True
            )


@pytest.fixture
def run(db: None) -> Run:
    """Return a run with five states; the first is a keyframe."""
    run = make_run()
    state = State(log=["x" * 100])
    states = [state.data]
    for number in range(4):
        state = state.append("log", f"line {number}")
        states.append(state.data)
    store(run, states)
    return run


def test_a_missing_row_is_named(run: Run) -> None:
    Checkpoint.objects.filter(run=run, sequence=2).delete()
    with pytest.raises(
        CheckpointMismatch, match=r"step 2 of run .* its row is missing"
    ):
        rebuild(run.pk)


def test_a_damaged_row_is_named(run: Run) -> None:
    Checkpoint.objects.filter(run=run, sequence=3).update(data='[{"op": "remove"')
    with pytest.raises(CheckpointMismatch, match=r"step 3 of run"):
        rebuild(run.pk)


def test_a_change_that_does_not_fit_is_named(run: Run) -> None:
    wrong = '[{"op":"remove","path":"/nothing"}]'
    Checkpoint.objects.filter(run=run, sequence=3).update(data=wrong)
    with pytest.raises(CheckpointMismatch, match=r"step 3 of run"):
        rebuild(run.pk)


def test_a_run_without_a_full_state_is_reported(run: Run) -> None:
    Checkpoint.objects.filter(run=run, sequence=0).delete()
    with pytest.raises(CheckpointMismatch, match="no whole state"):
        rebuild(run.pk)


def test_the_command_prints_what_each_step_changed(run: Run) -> None:
    out = StringIO()
    call_command("checkpoints", str(run.pk), stdout=out)
    assert '{"op": "add", "path": "/log/-", "value": "line 2"}' in out.getvalue()


def test_the_command_prints_a_full_state(run: Run) -> None:
    out = StringIO()
    call_command("checkpoints", str(run.pk), at=2, stdout=out)
    assert json.loads(out.getvalue())["log"][1:] == ["line 0", "line 1"]


def test_the_command_reports_a_missing_step(run: Run) -> None:
    with pytest.raises(CommandError, match="no checkpoint of step 9"):
        call_command("checkpoints", str(run.pk), at=9)


def test_a_full_state_is_stored_when_the_patches_are_larger() -> None:
    encoder = Encoder()
    state = State()
    kinds = []
    for _ in range(40):
        state = state.append("log", "x" * 1_000)
        kinds.append(encoder.encode(freeze(state.data))[0])
    wholes = [number for number, kind in enumerate(kinds) if kind == "full"]
    gaps = [after - before for before, after in pairwise(wholes)]
    assert gaps == sorted(gaps), "each stretch of changes may grow with the state"
    assert len(wholes) <= 6
