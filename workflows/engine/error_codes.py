"""Every error code of the engine with its message."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # ExecutionError: what ended an attempt
        "cancelled": "the run was cancelled",
        "deadline": "the run passed its deadline",
        "max_iterations": "the run took more steps than it may",
        "node_failed": "the node failed",
        "checkpoint_save_failed": "the step could not be stored",
        "dead_end": "no edge leaves the node, and the node is no exit",
        "no_transition": "no condition on the outgoing edges of the node is met",
        "predicate_failed": "a predicate failed",
        # ResumeError
        "resume.disabled": "its graph does not store checkpoints",
        "resume.not_found": "it has no checkpoint",
        "resume.load_failed": "its checkpoint cannot be read",
        "resume.mismatch": "its checkpoint does not match the state of the workflow",
        "resume.complete": "it has finished already",
        "resume.dead_end": "no edge leaves the node it stopped at",
        "resume.no_transition": "no condition on the edges of the node it stopped at is met",
        "resume.predicate_failed": "a predicate failed at the node it stopped at",
        "resume.unknown_node": "the node it paused at is no longer in the graph",
        # DefinitionError: building a graph
        "build.empty_name": "the name of a node, edge, entry or exit is empty",
        "build.nil_node": "a node has no function",
        "build.node_name": "the name of a node is invalid",
        "build.duplicate_node": "a node with this name already exists",
        "build.closing_node": "a node that waits cannot undo a step or run at the end",
        "build.unknown_node": "a node that is referred to was not added",
        "build.entry_already_set": "a graph has only one entry point",
        # DefinitionError: an incomplete graph
        "invalid_graph.no_nodes": "the graph has no nodes",
        "invalid_graph.no_entry": "the graph has no entry point",
        "invalid_graph.no_exit": "the graph has no exit point",
        # DefinitionError: mistakes that would fail a run
        "check.unreachable": "no route leads to a node",
        "check.trapped": "no exit can be reached from a node",
        "check.exit_with_edges": "an exit has edges, which are never evaluated",
        "check.dead_edge": "an edge is never taken because of a preceding one",
        "check.answer_type": "a field cannot hold the response that is stored in it",
        "check.not_by": "an approval excludes who responded to the previous one, and none precedes",
        "check.branches": "a field cannot hold the results of branches",
        "check.ask": "no approval of a failed step is possible: no run can wait there, or its"
        " failure route takes every failure",
        "check.first_of": "nodes cannot be waited for together",
        "check.template": "a template names a field that the state does not have",
        # DefinitionError: a State class
        "state.field_name": "the name of a field is invalid",
        "state.field_type": "the type of a field cannot be resolved or stored",
        "state.default": "the default of a field does not match its type",
        # DefinitionError: a predicate
        "predicate.function": "a function cannot be a predicate",
        # ConfigurationError
        "config.max_iterations": "the limit of steps is below 0",
        "config.interval": "the interval of checkpoints is below 0",
        "config.workers": "a number of workers is below 0",
        "config.no_store": "checkpoints are enabled without a store",
        "config.empty_name": "the name of a registration is empty",
        "unknown_observer": "no observer with this name is registered",
        "unknown_store": "no store with this name is registered",
        # PatternError
        "chain.processor": "a step of a chain failed",
        "chain.cancelled": "a chain was cancelled before a step",
        "parallel.failed": "items of a parallel node failed",
        "parallel.cancelled": "a parallel node was cancelled",
        "branches.failed": "too many branches of a node failed",
        "conditional.predicate": "the route could not be chosen",
        "conditional.handler": "the handler of a route failed",
        "conditional.unknown_route": "no handler has the name that was chosen",
        "conditional.cancelled": "a conditional node was cancelled before its handler",
        "conditional.unknown_observer": "a conditional node names an unknown observer",
    }
)
