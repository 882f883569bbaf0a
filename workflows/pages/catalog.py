"""Workflows as pages name them.

A Workflow can be called, and a template calls whatever it can: so templates get these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.access import permissions
from workflows.errors import WorkflowNotFound
from workflows.pages.render.text import in_words
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User

    from workflows.registry import AnyWorkflow


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow in the catalog."""

    name: str
    title: str
    description: str
    graph: Mapping[str, Any]


def entry(workflow: AnyWorkflow) -> Entry:
    """Return a workflow as pages name it."""
    return Entry(
        name=workflow.name,
        title=title_of(workflow.name),
        description=workflow.description,
        graph=workflow.shape.to_json(),
    )


def title_of(name: str) -> str:
    """Return a workflow's title; its name in words if it has none, or is not here."""
    workflow = known(name)
    return (workflow.title if workflow else "") or in_words(name)


def known(name: str) -> AnyWorkflow | None:
    """Return a workflow of this name, None if there is none (any more)."""
    try:
        return system.find_workflow(name)
    except WorkflowNotFound:
        return None


def title_for(person: User, name: str) -> str:
    """Return a workflow's title for one who may see it; else its name in words."""
    return title_of(name) if permissions.may_see(person, name) else in_words(name)


def entries(person: User) -> list[Entry]:
    """Return the workflows that a person may see, by name."""
    return [entry(workflow) for workflow in system.list_workflows(by=person)]
