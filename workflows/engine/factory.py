"""A plain factory, `factory(graph, runtime, params) -> State`, as a registered workflow.

A declared `Workflow` knows its graph at import; a factory is asked for it, by letting it
build one that nobody walks. A factory that cannot without real params has no picture
before its first run, and no form: its params are free JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from workflows.engine import Graph, GraphConfig, GraphShape, State
from workflows.engine.containment import call_contained
from workflows.engine.fingerprint import differences, fingerprint

logger = logging.getLogger(__name__)

Factory = Callable[[Graph, Any, Any], State]

NO_SHAPE = GraphShape(entry="", exits=(), nodes=(), edges=())


class FactoryWorkflow:
    """What a declared workflow offers, for a factory."""

    params_type: type | None = None
    config: GraphConfig | None = None
    prompts: Mapping[str, Any] = MappingProxyType({})  # it names none

    def __init__(self, name: str, factory: Factory, *, description: str = "") -> None:
        """Take the name it is registered under and the factory."""
        self.name = name
        self.title = name
        self.description = description or (factory.__doc__ or "")
        self.factory = factory

    @property
    def graph(self) -> Graph:
        """The graph as the factory builds it without params."""
        graph = Graph(self.name)
        call_contained(partial(self.factory, graph, None, {}))
        return graph

    @property
    def shape(self) -> GraphShape:
        """The graph as drawn; empty when the factory needs real params to build it."""
        try:
            return self.graph.describe()
        except Exception:
            logger.info("Workflow %s has no picture without params.", self.name)
            return NO_SHAPE

    @property
    def drawn(self) -> dict[str, Any]:
        """The shape as JSON, as it is stored with a run."""
        return self.shape.to_json()

    @property
    def fingerprint(self) -> str:
        """The hash of that shape; "" without one."""
        shape = self.shape
        return "" if shape is NO_SHAPE else fingerprint(shape)

    def params_of(self, params: Any = None) -> Any:
        """The params as they were given."""
        return params or {}

    def accepts(self, other: str) -> bool:
        """Tell whether a run of that fingerprint may go on: a factory promises nothing."""
        mine = self.fingerprint
        return not (mine and other) or other == mine

    def migrated(self, data: Mapping[str, Any], _fingerprint: str) -> Mapping[str, Any]:
        """The data as it is."""
        return data

    def differences(self, shape: GraphShape) -> list[str]:
        """What changed since a run began with that shape, in words."""
        return differences(shape, self.shape)
