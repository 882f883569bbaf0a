"""Profiles, as long as a run has none: every stage keeps its workflow's defaults."""

from __future__ import annotations

from workflows.runtime.records import StageProfile


class NoProfiles:
    """The profile of a run that was launched without one."""

    def stage(self, _name: str, /, default: StageProfile | None = None) -> StageProfile:
        """Return the workflow's own settings of that stage."""
        return default or StageProfile()
