"""Rules for what people enter about schedules, webhooks, destinations, alert rules and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workflows.models import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_NAME_LENGTH: Final = 100  # characters
MAX_PRIORITY: Final = 100

Rule = tuple[bool, str]  # whether it is met, and the message if it is not


def normalised(name: str) -> str:
    """Return a name with single spaces."""
    return " ".join(name.split())


def errors_of(rules: Mapping[str, Rule]) -> dict[str, list[str]]:
    """Return the messages of the rules that are not met, by field."""
    return {field: [text] for field, (is_met, text) in rules.items() if not is_met}


def name_rule(name: str) -> Rule:
    """Return the rule for a name."""
    is_valid = 0 < len(normalised(name)) <= MAX_NAME_LENGTH and "\x00" not in name
    return is_valid, f"Enter a name of up to {MAX_NAME_LENGTH} characters."


def choice_rule(value: str, values: Sequence[str]) -> Rule:
    """Return the rule for a field with these values."""
    return value in values, f"Choose from: {', '.join(values)}."


def launch_rules(workflow: str, profile: str | None, priority: int) -> dict[str, Rule]:
    """Return the rules for profile and priority of launches of a workflow."""
    profiles = Profile.objects.filter(workflow_name=workflow, name=profile)
    return {
        "priority": (
            abs(priority) <= MAX_PRIORITY,
            f"Enter -{MAX_PRIORITY} to {MAX_PRIORITY}.",
        ),
        "profile": (
            not profile or profiles.exists(),
            f"There is no profile “{profile}”.",
        ),
    }
