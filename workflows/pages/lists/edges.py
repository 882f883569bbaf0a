"""Known edges: those of installed workflows, and those in the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.models import EdgeTally
from workflows.pages.graph.branches import all_edges
from workflows.pages.render.text import readable_name
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

MAX_EDGES = 24  # edges whose rows are merged for one predicate
ALWAYS = frozenset({"", "always", "otherwise"})


@dataclass(frozen=True, slots=True, order=True)
class EdgeRef:
    """An edge of a workflow, with the name of its predicate."""

    workflow: str
    source: str
    target: str
    predicate: str = ""

    @property
    def value(self) -> str:
        """Return the edge as a value of a query string."""
        return f"{self.source}→{self.target}"

    @property
    def condition(self) -> str:
        """Return the name of its predicate, "" for an unconditional edge."""
        return "" if self.predicate in ALWAYS else self.predicate

    @property
    def title(self) -> str:
        """Return the edge for display."""
        return f"{readable_name(self.source)} → {readable_name(self.target)}"


def list_edges(person: User, workflow: str = "") -> list[EdgeRef]:
    """Return the edges of one workflow, or of all that a user may see."""
    return sorted({*_installed(person, workflow), *_counted(person, workflow)})


def edges_with(
    person: User, workflow: str, ends: tuple[str, str], predicate: str
) -> list[tuple[str, str, str]]:
    """Return workflow, source and target of the edges that match, up to MAX_EDGES."""
    matching = {
        (edge.workflow, edge.source, edge.target)
        for edge in list_edges(person, workflow)
        if (not ends[0] or (edge.source, edge.target) == ends)
        and (not predicate or edge.predicate == predicate)
    }
    if workflow and ends[0] and not predicate:
        matching.add((workflow, *ends))  # an edge that is not in the tallies yet
    return sorted(matching)[:MAX_EDGES]


def _installed(person: User, workflow: str) -> Iterator[EdgeRef]:
    for found in system.list_workflows(by=person):
        if workflow and found.name != workflow:
            continue
        for edge in all_edges(found.shape.to_json()):
            yield EdgeRef(
                found.name, edge["source"], edge["target"], edge.get("predicate") or ""
            )


def _counted(person: User, workflow: str) -> Iterator[EdgeRef]:
    rows = permissions.visible(person, EdgeTally.objects.order_by())
    if workflow:
        rows = rows.filter(workflow_name=workflow)
    names = rows.values_list("workflow_name", "from_node", "to_node", "predicate_name")
    for row in names.distinct():
        yield EdgeRef(*row)
