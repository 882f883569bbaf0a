"""Configuration: its defaults, and how layers are merged."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from workflows.engine.config import (
    ChainConfig,
    CheckpointConfig,
    ConditionalConfig,
    GraphConfig,
    ParallelConfig,
)
from workflows.engine.errors import ConfigurationError


def test_the_defaults_are_as_documented() -> None:
    graph = GraphConfig(name="g")
    assert (graph.name, graph.observer, graph.max_iterations) == ("g", "log", 1000)
    assert graph.checkpoint == CheckpointConfig(
        store="memory", interval=0, preserve=False
    )
    assert ChainConfig() == ChainConfig(
        capture_intermediate_states=None, observer="log"
    )
    parallel = ParallelConfig()
    assert (parallel.max_workers, parallel.worker_cap, parallel.observer) == (
        0,
        16,
        "log",
    )
    assert parallel.fail_fast is None
    assert ConditionalConfig().observer == "log"


def test_unset_fail_fast_means_yes() -> None:
    assert [ParallelConfig(fail_fast=set_to).fails_fast for set_to in (None, True, False)] == [
        True, True, False,
    ]  # fmt: skip


def test_explicit_values_of_a_source_win_over_the_base() -> None:
    base = GraphConfig("base", observer="noop", max_iterations=50)
    merged = base.merge(GraphConfig(max_iterations=7))
    assert merged == GraphConfig("base", observer="noop", max_iterations=7)
    assert base.max_iterations == 50


def test_a_default_of_the_source_does_not_override_a_choice_of_the_base() -> None:
    base = GraphConfig("base", observer="noop", max_iterations=50)
    source = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))
    merged = base.merge(source)
    assert (merged.observer, merged.max_iterations) == ("noop", 50)
    assert merged.checkpoint == CheckpointConfig(interval=1, preserve=True)
    assert ParallelConfig(worker_cap=4).merge(ParallelConfig()).worker_cap == 4


def test_a_source_can_set_the_default_value_explicitly() -> None:
    assert (
        GraphConfig(observer="noop").merge(GraphConfig(observer="log")).observer
        == "log"
    )
    assert (
        GraphConfig(max_iterations=5)
        .merge(GraphConfig(max_iterations=1000))
        .max_iterations
        == 1000
    )


def test_empty_texts_and_zeros_count_as_unset() -> None:
    base = GraphConfig("b", "rec", 7, CheckpointConfig("s", 3, preserve=True))
    source = GraphConfig("", "", 0, CheckpointConfig("", 0, preserve=False))
    assert base.merge(source) == base
    assert ParallelConfig(3, 4).merge(ParallelConfig(-1, -1)) == ParallelConfig(3, 4)


def test_checkpoints_are_merged_setting_by_setting() -> None:
    base = GraphConfig(checkpoint=CheckpointConfig(store="disk", interval=5))
    merged = base.merge(GraphConfig(checkpoint=CheckpointConfig(preserve=True)))
    assert merged.checkpoint == CheckpointConfig("disk", 5, preserve=True)


@pytest.mark.parametrize(
    ("base", "source", "merged"),
    [
        (False, True, True),
        (True, False, True),
        (False, False, False),
        (True, True, True),
    ],
    ids=str,
)
def test_preserve_is_only_ever_switched_on(
    base: bool, source: bool, merged: bool
) -> None:
    result = CheckpointConfig(preserve=base).merge(CheckpointConfig(preserve=source))
    assert result.preserve is merged


@pytest.mark.parametrize("base", [None, True, False], ids=str)
@pytest.mark.parametrize("source", [None, True, False], ids=str)
def test_three_valued_settings_retain_the_base_only_where_unset(
    base: bool | None, source: bool | None
) -> None:
    expected = base if source is None else source
    parallel = ParallelConfig(fail_fast=base).merge(ParallelConfig(fail_fast=source))
    assert parallel.fail_fast is expected
    chain = ChainConfig(capture_intermediate_states=base).merge(
        ChainConfig(capture_intermediate_states=source)
    )
    assert chain.capture_intermediate_states is expected


def test_several_layers_can_be_merged() -> None:
    merged = (
        ParallelConfig(max_workers=2)
        .merge(ParallelConfig(fail_fast=False))
        .merge(ParallelConfig(observer="noop"))
    )
    assert merged == ParallelConfig(max_workers=2, fail_fast=False, observer="noop")
    assert merged.given == {"max_workers", "fail_fast", "observer"}
    over = ParallelConfig(worker_cap=3, max_workers=9).merge(merged)
    assert (over.max_workers, over.worker_cap) == (2, 3)


def test_a_copy_retains_explicitly_set_values() -> None:
    source = GraphConfig(max_iterations=9)
    unpickled = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
    for same in (copy.copy(source), copy.deepcopy(source), unpickled):
        assert same == source
        assert GraphConfig(observer="noop").merge(same).observer == "noop"


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        GraphConfig().max_iterations = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (GraphConfig("g", max_iterations=-1), "config.max_iterations"),
        (GraphConfig("g", checkpoint=CheckpointConfig(interval=-1)), "config.interval"),
    ],
    ids=["limit", "interval"],
)
def test_a_limit_or_interval_below_zero_is_refused(
    config: GraphConfig, code: str
) -> None:
    with pytest.raises(
        ConfigurationError, match="is -1 in the configuration of “g”"
    ) as caught:
        config.check()
    assert caught.value.code == code


def test_zero_is_a_limit_and_no_mistake() -> None:
    GraphConfig(max_iterations=0).check()


@pytest.mark.parametrize(
    "kind", [GraphConfig, CheckpointConfig, ChainConfig, ParallelConfig]
)
def test_an_unknown_setting_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="max_iteration"):
        kind(max_iteration=3)
