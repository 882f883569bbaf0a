"""Profiles of workflows: which one a run gets, what it is kept with, whom it will ask."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from workflows.agents.lookup import find_agent, require_capability
from workflows.errors import InvalidParams, NobodyToAsk
from workflows.models import Profile
from workflows.runtime.errors import ProviderError
from workflows.runtime.profiles import as_json, merge_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from workflows.registry import AnyWorkflow

OWN = ""  # stands for the workflow's own settings where a profile can be named

PromptSettings = dict[str, dict[str, Any]]


def of_workflow(workflow: AnyWorkflow) -> Sequence[Profile]:
    """Return the profiles of a workflow, by name."""
    return list(Profile.objects.filter(workflow_name=workflow.name))


def choose(
    workflow: AnyWorkflow, name: str | None, run_id: UUID
) -> tuple[str, PromptSettings]:
    """Return the profile of a run and the settings of all stages, to be kept with it.

    `None` leaves it to the weights, "" is the workflow's own. Raises InvalidParams for a
    profile that the workflow does not have.
    """
    profile = assigned(workflow, run_id) if name is None else find(workflow, name)
    given = profile.stages if profile else {}
    return profile.name if profile else OWN, as_json(
        merge_prompts(workflow.prompts, given)
    )


def find(workflow: AnyWorkflow, name: str) -> Profile | None:
    """Return the profile of that name, None for the workflow's own settings."""
    if name == OWN:
        return None
    found = Profile.objects.filter(workflow_name=workflow.name, name=name).first()
    if found is None:
        known = ", ".join(one.name for one in of_workflow(workflow)) or "none"
        raise InvalidParams(
            {"profile": [f"{workflow.name} has no profile “{name}”. There is {known}."]}
        )
    return found


def assigned(workflow: AnyWorkflow, run_id: UUID) -> Profile | None:
    """Return the profile that the weights give to this run, None where none has weight.

    The id decides, whose end is random: the same run always gets the same.
    """
    if not workflow.prompts:
        return None  # nothing that a profile could set
    weighted = [one for one in of_workflow(workflow) if one.weight]
    if not weighted:
        return None
    ends = list(itertools.accumulate(one.weight for one in weighted))
    place = run_id.int % (1 << 48) * ends[-1] >> 48
    return next(one for one, end in zip(weighted, ends, strict=True) if place < end)


def check_agents(
    workflow: AnyWorkflow, prompts: PromptSettings, params: Mapping[str, Any]
) -> None:
    """Return if each stage of the workflow has an agent that can do what it needs.

    A stage whose profile names none is asked of the one chosen at launch, then of the
    default one; an optional one of nobody. Raises NobodyToAsk, before anything is queued.
    """
    chosen = params.get("agent")
    fallback = chosen if isinstance(chosen, str) else ""
    for name, prompt in workflow.prompts.items():
        name_or_default = prompts[name]["agent"] or fallback
        if prompt.is_optional and not name_or_default:
            continue
        try:
            agent = find_agent(name_or_default)
            require_capability(agent.name, agent.capabilities, prompt.needs)
        except ProviderError as lacking:
            raise NobodyToAsk(name, str(lacking)) from lacking
