"""The first steps of a new installation, and which of them are done.

A step is shown to those who can do it, and is done by what exists, not by who did it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import User

from workflows.access import permissions
from workflows.models import Agent, Document, FirstStepsHidden, Run
from workflows.registry import registry
from workflows.services import default_access

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_WORKFLOW: Final = "classify-document"
SAMPLE_DOCUMENT: Final = "tide-gate-report.pdf"  # of `samples`; needs no approval


@dataclass(frozen=True, slots=True)
class FirstStep:
    """A step: its name, for the template, and whether it is done."""

    name: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """The steps of a person, in order."""

    steps: tuple[FirstStep, ...]
    sample: Document | None  # None: it was deleted, or is not visible
    has_others: bool  # whether a second person has an account

    @property
    def done(self) -> int:
        """Return the number of steps that are done."""
        return sum(step.is_done for step in self.steps)

    @property
    def are_done(self) -> bool:
        """Return whether no step is left."""
        return self.done == len(self.steps)


def of_person(person: User) -> FirstSteps:
    """Return the steps that a person can do."""
    others = has_others(person)
    return FirstSteps(
        steps=tuple(_steps(person, has_others=others)),
        sample=sample_for(person),
        has_others=others,
    )


def _steps(person: User, *, has_others: bool) -> Iterator[FirstStep]:
    runs = permissions.visible(person, Run.objects.all())
    if can_run_sample(person):
        yield FirstStep("sample", runs.exists())
    if permissions.can_manage_agents(person):
        yield FirstStep("model", has_model())
    if permissions.can_administer(person):
        yield FirstStep("own", has_own_workflow())
    if permissions.can_give_roles(person):
        yield FirstStep("people", has_others)
    if permissions.can_administer(person):
        yield FirstStep("access", default_access.is_chosen())


def can_run_sample(person: User) -> bool:
    """Return whether the workflow of the sample is installed and the person may launch it."""
    is_installed = registry.find(SAMPLE_WORKFLOW) is not None
    return is_installed and permissions.can_launch(person, SAMPLE_WORKFLOW)


def sample_for(person: User) -> Document | None:
    """Return the sample document, if it exists and the person may see it."""
    found = permissions.visible_documents(person).filter(name=SAMPLE_DOCUMENT)
    return found.order_by("pk").first()


def has_model() -> bool:
    """Return whether workflows can call a model."""
    return Agent.objects.filter(is_enabled=True, provider__is_enabled=True).exists()


def has_own_workflow() -> bool:
    """Return whether a workflow is installed that is not one of those shipped."""
    return any(not registry.is_shipped(one.name) for one in registry.list())


def has_others(person: User) -> bool:
    """Return whether another person has an account; programs do not count."""
    people = User.objects.filter(is_active=True, service_account__isnull=True)
    return people.exclude(pk=person.pk).exists()


def are_hidden(person: User) -> bool:
    """Return whether the person has hidden the steps from the home page."""
    return FirstStepsHidden.objects.filter(pk=person.pk).exists()


def hide(person: User) -> None:
    """Hide the steps from the person's home page."""
    FirstStepsHidden.objects.get_or_create(pk=person.pk)
