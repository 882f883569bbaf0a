"""What agents say and take, as the page of a run shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

from workflows.agents import usage
from workflows.models import LiveText
from workflows.pages.redaction import is_redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.agents.usage import Usage
    from workflows.models import Run, Stage

register = template.Library()


@register.filter
def thousands(number: float | None) -> str:
    """Return a number with its thousands apart, a dash for None."""
    return "—" if number is None else f"{number:,.0f}"


@register.filter
def percent(share: float | None) -> str:
    """Return a share of 0..1 in percent, a dash for None."""
    return "—" if share is None else f"{share:.0%}"


@register.simple_tag
def live_texts(run: Run) -> Sequence[LiveText]:
    """Return what agents are answering at this moment, oldest first."""
    if run.is_ended or is_redacted(run):
        return []
    return list(LiveText.objects.filter(run=run, attempt=run.attempt))


@register.simple_tag
def run_usage(run: Run) -> Usage:
    """Return what a run's agents took in all."""
    return usage.of_run(run.pk)


@register.simple_tag
def workflow_usage(name: str) -> Usage:
    """Return what the agents of all runs of a workflow took."""
    return usage.of_workflow(name)


@register.simple_tag
def stage_usages(run: Run) -> list[tuple[Stage, Usage]]:
    """Return what the stages of a run took, those that asked somebody, in order."""
    sums = usage.of_stages(run.pk)
    stages = run.stages.filter(sequence__in={sequence for _, sequence in sums})
    return [
        (stage, sums[stage.attempt, stage.sequence])
        for stage in stages
        if (stage.attempt, stage.sequence) in sums
    ]
