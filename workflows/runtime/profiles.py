"""Profiles: the agent and prompt settings of a run, merged over the workflow's defaults.

A field that is present applies, even if it is `None` (no prompt). A missing field keeps
the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workflows.runtime.records import PromptProfile


class NoProfiles:
    """The profile of a run without one."""

    def prompt(
        self, _name: str, /, default: PromptProfile | None = None
    ) -> PromptProfile:
        """Return the workflow's default."""
        return default or PromptProfile()


class ChosenProfile:
    """The settings stored with a run at launch."""

    def __init__(self, prompts: Mapping[str, Mapping[str, Any]]) -> None:
        self._prompts = prompts

    def prompt(
        self, name: str, /, default: PromptProfile | None = None
    ) -> PromptProfile:
        """Return the stored settings of a prompt, merged over the default."""
        return overlay(default or PromptProfile(), self._prompts.get(name, {}))


def overlay(below: PromptProfile, given: Mapping[str, Any]) -> PromptProfile:
    """Return a prompt's settings with the given fields replaced.

    Options are merged key by key.
    """
    options = given.get("options", {})
    return replace(
        below,
        agent=(given["agent"] or "") if "agent" in given else below.agent,
        prompt=(given["prompt"] or "") if "prompt" in given else below.prompt,
        options={} if options is None else {**below.options, **options},
    )


def merge_prompts(
    defaults: Mapping[str, PromptProfile], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, PromptProfile]:
    """Return every prompt of a workflow with the given fields merged over its defaults.

    Prompts that the workflow does not declare follow its own, because a node may request
    them.
    """
    names = dict.fromkeys([*defaults, *given])
    return {
        name: overlay(defaults.get(name, PromptProfile()), given.get(name, {}))
        for name in names
    }


def as_json(prompts: Mapping[str, PromptProfile]) -> dict[str, dict[str, Any]]:
    """Return prompts as stored with a run: all fields are present."""
    return {
        name: {
            "agent": prompt.agent,
            "prompt": prompt.prompt,
            "options": dict(prompt.options),
        }
        for name, prompt in prompts.items()
    }
