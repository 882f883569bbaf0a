"""The edges that there are: of the workflows installed, and of those in the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.models import EdgeTally
from workflows.pages.render.text import in_words
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

MAX_EDGES = 24  # edges that are laid together for one predicate
ALWAYS = frozenset({"", "always", "otherwise"})


@dataclass(frozen=True, slots=True, order=True)
class EdgeRef:
    """An edge of a workflow: from where to where, and if what."""

    workflow: str
    source: str
    target: str
    predicate: str = ""

    @property
    def value(self) -> str:
        """Return it as an address tells it."""
        return f"{self.source}→{self.target}"

    @property
    def condition(self) -> str:
        """Return the name of its condition, "" if there is none."""
        return "" if self.predicate in ALWAYS else self.predicate

    @property
    def title(self) -> str:
        """Return it in words."""
        return f"{in_words(self.source)} → {in_words(self.target)}"


def known(person: User, workflow: str = "") -> list[EdgeRef]:
    """Return the edges that a person may see, of a workflow or of all."""
    return sorted({*_installed(person, workflow), *_counted(person, workflow)})


def edges_with(
    person: User, workflow: str, ends: tuple[str, str], predicate: str
) -> list[tuple[str, str, str]]:
    """Return workflow, source and target of the edges that fit, not more than a few."""
    fitting = {
        (way.workflow, way.source, way.target)
        for way in known(person, workflow)
        if (not ends[0] or (way.source, way.target) == ends)
        and (not predicate or way.predicate == predicate)
    }
    if workflow and ends[0] and not predicate:
        fitting.add((workflow, *ends))  # also one that nobody has counted yet
    return sorted(fitting)[:MAX_EDGES]


def _installed(person: User, workflow: str) -> Iterator[EdgeRef]:
    for found in system.list_workflows(by=person):
        if workflow and found.name != workflow:
            continue
        for edge in found.shape.to_json()["edges"]:
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
