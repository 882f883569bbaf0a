"""Workflows for templates.

A Workflow is callable, and templates call every callable, so templates get an Entry instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.access import permissions
from workflows.engine import Workflow
from workflows.errors import WorkflowNotFound
from workflows.pages.render.text import readable_name
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User

    from workflows.registry import AnyWorkflow


@dataclass(frozen=True, slots=True)
class Entry:
    """A workflow for templates."""

    name: str
    title: str
    description: str
    graph: Mapping[str, Any]
    needs_model: bool


def entry(workflow: AnyWorkflow) -> Entry:
    """Return the entry of a workflow."""
    return Entry(
        name=workflow.name,
        title=title_of(workflow.name),
        description=workflow.description,
        graph=workflow.shape.to_json(),
        needs_model=needs_model(workflow),
    )


def needs_model(workflow: AnyWorkflow) -> bool:
    """Return whether a workflow has a prompt that it can't do without."""
    return any(not prompt.is_optional for prompt in workflow.prompts.values())


def title_of(name: str) -> str:
    """Return the title of a workflow, else its name for display."""
    workflow = installed_workflow(name)
    return (workflow.title if workflow else "") or readable_name(name)


def installed_workflow(name: str) -> AnyWorkflow | None:
    """Return a workflow by name, None if it is not installed."""
    try:
        return system.find_workflow(name)
    except WorkflowNotFound:
        return None


def title_for(person: User, name: str) -> str:
    """Return the title of a workflow that a user may see, else its name for display."""
    return title_of(name) if permissions.can_view(person, name) else readable_name(name)


def can_evaluate(person: User, name: str) -> bool:
    """Return whether what-if reports of a workflow are offered to a user."""
    return permissions.can_read(person, name) and isinstance(
        installed_workflow(name), Workflow
    )


def entries(person: User) -> list[Entry]:
    """Return the workflows that a user may see, by name."""
    return [entry(workflow) for workflow in system.list_workflows(by=person)]
