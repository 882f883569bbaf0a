"""What a fork would share with its origin, and what would run again, before it is made."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workflows.models import Stage, StageKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workflows.services.fork_plans import ForkPlan

MAX_STEPS: Final = 500  # of the origin that are listed


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """A step of the origin, or a node that may run."""

    node: str
    kind: str = "node"  # of the node
    sequence: int | None = None  # None: the origin did not reach it
    effects: str = ""  # what its author says about its effects


@dataclass(frozen=True, slots=True)
class ForkPreview:
    """The steps that are kept, those that run again, and what that means."""

    plan: ForkPlan
    kept: Sequence[PreviewStep]  # in order, each once
    again: Sequence[PreviewStep]  # steps of the origin whose nodes may run again
    new: Sequence[PreviewStep]  # nodes that may run, and that the origin did not reach

    @property
    def effects(self) -> Sequence[PreviewStep]:
        """The nodes whose effects may repeat."""
        return _each_once(step for step in self.again if step.effects)

    @property
    def approvals(self) -> Sequence[PreviewStep]:
        """The approvals that may be asked again."""
        return _each_once(
            step
            for step in self.again
            if step.kind in {"approval", "ask"} and not self._is_answered(step)
        )

    @property
    def children(self) -> Sequence[PreviewStep]:
        """The nodes that may launch runs again."""
        launching = {"subworkflow", "subworkflows", "launch", "continue"}
        return _each_once(step for step in self.again if step.kind in launching)

    def _is_answered(self, step: PreviewStep) -> bool:
        """Return whether the fork brings the response with it."""
        approval = self.plan.approval
        return approval is not None and approval.sequence == step.sequence


def preview(plan: ForkPlan) -> ForkPreview:
    """Return the preview of a fork."""
    nodes = kinds_and_effects(plan.origin.graph)
    stages = Stage.objects.filter(run=plan.origin, kind=StageKind.NODE)
    rows = stages.order_by("sequence", "attempt").values_list("sequence", "node_name")
    steps = [
        PreviewStep(name, kind, sequence, effects)
        for sequence, name in dict(rows[:MAX_STEPS]).items()
        for kind, effects in [nodes.get(name, ("node", ""))]
    ]
    reachable = _reachable(plan.origin.graph, plan.entry)
    again = [
        step
        for step in steps
        if (step.sequence or 0) > plan.history.kept and step.node in reachable
    ]
    reached = {step.node for step in again}
    return ForkPreview(
        plan,
        kept=[step for step in steps if (step.sequence or 0) <= plan.history.kept],
        again=again,
        new=[
            PreviewStep(name, kind, None, effects)
            for name, (kind, effects) in nodes.items()
            if name in reachable and name not in reached
        ],
    )


def kinds_and_effects(graph: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return kind and effects of each node, with those of branches."""
    return {
        node["name"]: (node.get("kind", "node"), node.get("effects", ""))
        for node in _every(graph.get("nodes", ()))
    }


def _every(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for node in nodes:
        for branch in node.get("branches", ()):
            yield from branch["nodes"]
        yield node


def _reachable(graph: Mapping[str, Any], entry: str) -> set[str]:
    """Return the nodes that may run from a node on, with those of its branches."""
    inner = {
        node["name"]: [
            one["name"] for b in node.get("branches", ()) for one in b["nodes"]
        ]
        for node in graph.get("nodes", ())
    }
    found, waiting = {entry}, deque([entry])
    while waiting:
        name = waiting.popleft()
        found.update(inner.get(name, ()))
        for edge in graph.get("edges", ()):
            if edge["source"] == name and edge["target"] not in found:
                found.add(edge["target"])
                waiting.append(edge["target"])
    return found


def _each_once(steps: Iterator[PreviewStep]) -> list[PreviewStep]:
    return list({step.node: step for step in steps}.values())
