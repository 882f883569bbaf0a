"""Usage of agents and the responses that stream in, for the run and profile pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

from workflows.agents import usage
from workflows.models import LiveText, with_current
from workflows.pages.redaction import is_redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.agents.usage import Usage
    from workflows.models import Run, Stage

register = template.Library()


@register.filter
def thousands(number: float | None) -> str:
    """Return a number with thousands separators, `—` for None."""
    return "—" if number is None else f"{number:,.0f}"


@register.simple_tag
def live_texts(run: Run) -> Sequence[LiveText]:
    """Return the responses that agents are streaming to a run, oldest first."""
    if run.is_ended or is_redacted(run):
        return []
    return list(LiveText.objects.filter(run=run, attempt=run.attempt))


@register.simple_tag
def run_usage(run: Run) -> Usage:
    """Return the total agent usage of a run."""
    return usage.of_run(run.pk)


@register.simple_tag
def has_hidden_data(run: Run) -> bool:
    """Return whether the viewer may not read the data of a run."""
    return is_redacted(run)


@register.simple_tag
def workflow_usage(name: str) -> Usage:
    """Return the total agent usage of all runs of a workflow."""
    return usage.of_workflow(name)


@register.simple_tag
def stage_usages(run: Run) -> list[tuple[Stage, Usage]]:
    """Return the agent usage per stage, in order, of stages that called agents."""
    sums = usage.of_stages(run.pk)
    stages = run.stages.filter(sequence__in={sequence for _, sequence in sums})
    return [
        (stage, sums[stage.attempt, stage.sequence])
        for stage in with_current(run, stages)
        if (stage.attempt, stage.sequence) in sums
    ]
