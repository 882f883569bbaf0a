"""The workflow engine: the public API for authors. Pure Python without Django or network access.

A workflow is a graph of nodes through which one immutable state passes. See docs/authoring.md.
"""

from __future__ import annotations

import os

# Messages of pydantic's errors appear on pages and in logs, where a link to pydantic's
# documentation is of no use. Pydantic reads the variable when it formats its first error.
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

from .cancellation import Cancellation
from .checkpoints import CheckpointStore, MemoryStore, stores
from .child_groups import subworkflows
from .child_nodes import continue_as_new, launch, subworkflow
from .clock import Clock, SystemClock
from .config import (
    ChainConfig,
    CheckpointConfig,
    ConditionalConfig,
    GraphConfig,
    ParallelConfig,
)
from .context import Answer, NodeContext
from .errors import (
    Cancelled,
    ConfigurationError,
    DeadlinePassed,
    DefinitionError,
    ExecutionError,
    LimitExceeded,
    NodeSilent,
    NodeTimedOut,
    NotSerialisable,
    Paused,
    ProcessDied,
    ResourceFailed,
    ResumeError,
    Superseded,
    WorkflowError,
)
from .event_nodes import callback, event
from .events import Event, EventType
from .failure_questions import Ask, FailureResponse, ask
from .failures import Failure
from .first_of import first_of
from .graph import Graph
from .graph_shape import EdgeShape, GraphShape, NodeShape
from .isolation import Isolation
from .item_places import ClusterUnavailable
from .limits import Limits
from .nodes import Failed, Node, node
from .observers import LogObserver, MultiObserver, NoOpObserver, Observer, observers
from .outcomes import RunOutcome
from .patterns import branches, chain, conditional, parallel
from .pause_nodes import approval, sleep, wait
from .predicates import (
    Evaluation,
    Predicate,
    all_of,
    always,
    any_of,
    key,
    key_equals,
    key_exists,
    not_,
    predicate,
)
from .resources import Resource, resource
from .retries import Retry
from .routes import otherwise, when, when_failed
from .state import State
from .votes import Vote
from .workflow import DefinitionWarning, Workflow

__all__ = [
    "Answer",
    "Ask",
    "Cancellation",
    "Cancelled",
    "ChainConfig",
    "CheckpointConfig",
    "CheckpointStore",
    "Clock",
    "ClusterUnavailable",
    "ConditionalConfig",
    "ConfigurationError",
    "DeadlinePassed",
    "DefinitionError",
    "DefinitionWarning",
    "EdgeShape",
    "Evaluation",
    "Event",
    "EventType",
    "ExecutionError",
    "Failed",
    "Failure",
    "FailureResponse",
    "Graph",
    "GraphConfig",
    "GraphShape",
    "Isolation",
    "LimitExceeded",
    "Limits",
    "LogObserver",
    "MemoryStore",
    "MultiObserver",
    "NoOpObserver",
    "Node",
    "NodeContext",
    "NodeShape",
    "NodeSilent",
    "NodeTimedOut",
    "NotSerialisable",
    "Observer",
    "ParallelConfig",
    "Paused",
    "Predicate",
    "ProcessDied",
    "Resource",
    "ResourceFailed",
    "ResumeError",
    "Retry",
    "RunOutcome",
    "State",
    "Superseded",
    "SystemClock",
    "Vote",
    "Workflow",
    "WorkflowError",
    "all_of",
    "always",
    "any_of",
    "approval",
    "ask",
    "branches",
    "callback",
    "chain",
    "conditional",
    "continue_as_new",
    "event",
    "first_of",
    "key",
    "key_equals",
    "key_exists",
    "launch",
    "node",
    "not_",
    "observers",
    "otherwise",
    "parallel",
    "predicate",
    "resource",
    "sleep",
    "stores",
    "subworkflow",
    "subworkflows",
    "wait",
    "when",
    "when_failed",
]
