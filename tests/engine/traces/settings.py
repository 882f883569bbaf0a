"""Checks merged configurations and multi observers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from workflows.engine import (
    ChainConfig,
    CheckpointConfig,
    ConditionalConfig,
    Event,
    GraphConfig,
    MultiObserver,
    ParallelConfig,
)

from .cases import Case
from .compare import assert_equal

REFERENCE_LOG = "slog"  # name of the logging observer in the reference


def _checkpoint(values: Mapping[str, Any]) -> CheckpointConfig:
    return CheckpointConfig(**{"store": "", **values})


def _graph(values: Mapping[str, Any]) -> GraphConfig:
    given = {
        "name": "",
        "observer": "",
        "max_iterations": 0,
        "checkpoint": {},
        **values,
    }
    return GraphConfig(**given | {"checkpoint": _checkpoint(given["checkpoint"])})


def _chain(values: Mapping[str, Any]) -> ChainConfig:
    return ChainConfig(**{"observer": "", **values})


def _parallel(values: Mapping[str, Any]) -> ParallelConfig:
    return ParallelConfig(**{"worker_cap": 0, "observer": "", **values})


def _conditional(values: Mapping[str, Any]) -> ConditionalConfig:
    return ConditionalConfig(**{"observer": "", **values})


MAKERS: dict[str, Any] = {
    "checkpoint": (_checkpoint, CheckpointConfig),
    "graph": (_graph, GraphConfig),
    "chain": (_chain, ChainConfig),
    "parallel": (_parallel, ParallelConfig),
    "conditional": (_conditional, ConditionalConfig),
}


def assert_merged(case: Case) -> None:
    """Base and merged configuration are as recorded, or as the rules have it for a defect."""
    merge, wanted = case["merge"], case["expected"]
    make, kind = MAKERS[merge["type"]]
    base = kind() if merge["base"] == "default" else make(merge["base"])
    if kind is GraphConfig and merge["base"] == "default":
        base = GraphConfig(name=wanted["base"]["name"])
    merged = base.merge(make(merge["source"]))
    assert_equal(_shown(base, wanted["base"]), wanted["base"], "base")
    recorded = wanted["merged"]
    if case["conformance"] != "must_match":
        recorded = _by_the_rules(
            _shown(base, wanted["base"]), merge["source"], recorded
        )
    assert_equal(_shown(merged, recorded), recorded, "merged")
    for name, config in (("base", base), ("merged", merged)):
        if f"{name}_effective_fail_fast" in wanted:
            assert config.fails_fast is wanted[f"{name}_effective_fail_fast"]


def _shown(config: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as a trace shows it: names of the reference, unset values as they act.

    A trace may also leave out, or show as null, what is unset.
    """
    shown = asdict(config)
    if shown.get("observer") == "log":
        shown["observer"] = REFERENCE_LOG
    for name, unset in (("fail_fast", True), ("capture_intermediate_states", False)):
        if name in shown and shown[name] is None and wanted.get(name) is not None:
            shown[name] = unset
        if name in shown and shown[name] is None and name not in wanted:
            del shown[name]
    return shown


def _by_the_rules(
    base: Mapping[str, Any], source: Mapping[str, Any], recorded: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge by the rules: a set value overrides, an unset one keeps the base."""
    merged = dict(base)
    for name, value in source.items():
        if isinstance(value, Mapping):
            merged[name] = _by_the_rules(base[name], value, recorded[name])
        elif name in {"fail_fast", "capture_intermediate_states"}:
            merged[name] = base[name] if value is None else value
        elif value:
            merged[name] = value
    return merged


def assert_broadcast(case: Case) -> None:
    """Assert that every observer got every event in order."""
    deliveries: list[dict[str, str]] = []

    class Member:
        def __init__(self, name: str) -> None:
            self.name = name

        def on_event(self, event: Event) -> None:
            deliveries.append({"observer": self.name, "type": event.type})

    members = {name: Member(name) for name in case["multi"]["observers"]}
    multi = MultiObserver(
        *(
            None if name == "nil" else members[name]
            for name in case["multi"]["observers"]
        )
    )
    for kind in case["multi"]["events"]:
        multi.on_event(Event(kind, datetime(2026, 1, 1, tzinfo=UTC), "g", {}))
    assert deliveries == case["expected"]["deliveries"]
