"""A plain factory, `factory(graph, runtime, params) -> State`, as a registered workflow.

A declared `Workflow` knows its graph at import; a factory is called without params to build one
for display. A factory that requires params has no drawing before its first run. It has no form:
its params are any JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from workflows.engine import Graph, GraphConfig, GraphShape, Resource, State
from workflows.engine.author_code import call_contained
from workflows.engine.fingerprint import differences, fingerprint
from workflows.engine.limits import Limits
from workflows.engine.run_title import RunTitle

logger = logging.getLogger(__name__)

Factory = Callable[[Graph, Any, Any], State]

NO_SHAPE = GraphShape(entry="", exits=(), nodes=(), edges=())


class FactoryWorkflow:
    """The interface of a declared workflow for a factory."""

    params_type: type | None = None
    config: GraphConfig | None = None
    deadline: timedelta | None = None
    limits: Limits | None = None
    run_title: RunTitle | None = None
    reasons_for: frozenset[str] | None = None
    children: Sequence[Any] = ()  # unknown before its graph is built
    prompts: Mapping[str, Any] = MappingProxyType({})  # a factory declares none
    resources: tuple[Resource[Any], ...] = ()  # likewise
    call_content = False  # likewise
    has_fixed_start = False  # its code decides the initial state, and the first node
    has_personal_approvals = True  # unknown: its code decides the nodes

    def __init__(self, name: str, factory: Factory, *, description: str = "") -> None:
        self.name = name
        self.title = name
        self.description = description or (factory.__doc__ or "")
        self.factory = factory

    @property
    def graph(self) -> Graph:
        """The graph that the factory builds without params."""
        graph = Graph(self.name)
        call_contained(partial(self.factory, graph, None, {}))
        return graph

    @property
    def shape(self) -> GraphShape:
        """The shape of the graph; empty if the factory cannot build it without params."""
        try:
            return self.graph.describe()
        except Exception:
            logger.info(
                "The graph of workflow %s cannot be drawn without params.", self.name
            )
            return NO_SHAPE

    @property
    def has_closing(self) -> bool:
        """Whether nodes run after the end of a run was decided, as far as it is known."""
        shape = self.shape
        return bool(shape.undo) or shape.on_end is not None

    @property
    def drawn(self) -> dict[str, Any]:
        """The shape as JSON, as stored with a run."""
        return self.shape.to_json()

    @property
    def fingerprint(self) -> str:
        """The hash of the shape; "" without one."""
        shape = self.shape
        return "" if shape is NO_SHAPE else fingerprint(shape)

    def params_of(self, params: Any = None) -> Any:
        """Return the params unchanged."""
        return params or {}

    def accepts(self, other: str) -> bool:
        """Return whether a run of that fingerprint may continue: only with an equal one."""
        mine = self.fingerprint
        return not (mine and other) or other == mine

    def migrated(self, data: Mapping[str, Any], _fingerprint: str) -> Mapping[str, Any]:
        """Return the data unchanged."""
        return data

    def differences(self, shape: GraphShape) -> list[str]:
        """Return the changes since a run started with that shape, as sentences."""
        return differences(shape, self.shape)
