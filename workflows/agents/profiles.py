"""Profiles of workflows: selection for a run, and validation of the agents it needs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from workflows.agents.lookup import find_agent, require_capability
from workflows.errors import AgentUnavailable, InvalidParams
from workflows.models import Profile
from workflows.runtime.errors import ProviderError
from workflows.runtime.profiles import as_json, merge_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from workflows.registry import AnyWorkflow

NO_PROFILE = ""  # the workflow's defaults, where a profile can be named

PromptSettings = dict[str, dict[str, Any]]


def of_workflow(workflow: AnyWorkflow) -> Sequence[Profile]:
    """Return the profiles of a workflow, by name."""
    return list(Profile.objects.filter(workflow_name=workflow.name))


def choose(
    workflow: AnyWorkflow, name: str | None, run_id: UUID
) -> tuple[str, PromptSettings]:
    """Return the profile name of a run and the settings of all prompts, to be stored with it.

    `None` selects by weight, "" the workflow's defaults. Raises InvalidParams for an unknown
    profile.
    """
    profile = assigned(workflow, run_id) if name is None else find(workflow, name)
    given = profile.stages if profile else {}
    return profile.name if profile else NO_PROFILE, as_json(
        merge_prompts(workflow.prompts, given)
    )


def find(workflow: AnyWorkflow, name: str) -> Profile | None:
    """Return the profile of that name, None for the workflow's defaults."""
    if name == NO_PROFILE:
        return None
    found = Profile.objects.filter(workflow_name=workflow.name, name=name).first()
    if found is None:
        known = ", ".join(one.name for one in of_workflow(workflow)) or "none"
        raise InvalidParams(
            {"profile": [f"{workflow.name} has no profile “{name}”. There is {known}."]}
        )
    return found


def assigned(workflow: AnyWorkflow, run_id: UUID) -> Profile | None:
    """Return the profile that the weights assign to a run, None if none has weight.

    The random end of the run id decides: the same run always gets the same profile.
    """
    if not workflow.prompts:
        return None  # no prompts to configure
    weighted = [one for one in of_workflow(workflow) if one.weight]
    if not weighted:
        return None
    ends = list(itertools.accumulate(one.weight for one in weighted))
    place = run_id.int % (1 << 48) * ends[-1] >> 48
    return next(one for one, end in zip(weighted, ends, strict=True) if place < end)


def check_agents(
    workflow: AnyWorkflow, prompts: PromptSettings, params: Mapping[str, Any]
) -> None:
    """Check that each prompt has an agent with the capability it needs.

    A prompt without an agent in the profile uses the one chosen at launch, then the default
    one; an optional prompt is skipped without an agent. Raises AgentUnavailable before anything is
    queued.
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
            raise AgentUnavailable(name, str(lacking)) from lacking
