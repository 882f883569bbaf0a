"""Explanations of permissions: what a member may do with each workflow, and through what.

`permissions` decides; this module only names the rows, groups and settings that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.access.roles import ADDS_NOTHING_WHEN_OPEN
from workflows.models import WorkflowPermission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import Group, User

VERBS = ("view", "launch", "operate", "approve", "read")
OF_RUNS = frozenset(
    {"view_run", "launch_run", "operate_run", "approve_run", "administer_run"}
)
OF_ALL_WORKFLOWS = frozenset({"administer_run", "audit_run"})
MAX_NAMED_PERMISSIONS = 3  # of a group


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of a member on one workflow."""

    workflow_name: str
    verbs: tuple[bool, ...]  # in the order of VERBS
    through: tuple[str, ...]  # what grants them, as texts

    @property
    def is_any(self) -> bool:
        """Return whether the member may do anything with the workflow."""
        return any(self.verbs[:-1])


def grants_of(member: User, names: Iterable[str]) -> list[Grant]:
    """Return the permissions of a member on these workflows, in their order."""
    granted = permissions.permissions_for(member)
    sources = _Sources(member)
    return [
        Grant(
            name,
            (
                *(name in getattr(granted, verb) for verb in VERBS[:-1]),
                name in granted.read and name in granted.view,
            ),
            sources.of(name) if name in granted.view else (),
        )
        for name in names
    ]


class _Sources:
    """What grants one member permissions on workflows."""

    def __init__(self, member: User) -> None:
        self._member = member
        self._is_open = permissions.are_open()
        self._rows = list(
            WorkflowPermission.objects.select_related("group").order_by("group__name")
        )
        self._groups = {
            group.pk: (group.name, {one.codename for one in group.permissions.all()})
            for group in member.groups.order_by("name").prefetch_related("permissions")
        }
        own = member.user_permissions.filter(content_type__app_label="workflows")
        self._own = set(own.values_list("codename", flat=True))

    def of(self, name: str) -> tuple[str, ...]:
        """Return the sources of the permissions on a workflow."""
        if self._member.is_superuser:
            return ("superuser",)
        found = self._with_any(OF_ALL_WORKFLOWS)
        rows = [row for row in self._rows if row.workflow_name == name]
        restricting = [row for row in rows if row.restricts]
        found += [
            row.group.name
            for row in restricting
            if row.group is not None and row.group_id in self._groups
        ]
        found += ["all members" for row in restricting if row.group is None]
        if not restricting:
            found += ["open access"] if self._is_open else self._with_any(OF_RUNS)
        return tuple(dict.fromkeys(found))

    def _with_any(self, codes: frozenset[str]) -> list[str]:
        found = [name for name, held in self._groups.values() if held & codes]
        return [*found, *(["own permissions"] if self._own & codes else [])]


def effect_of(group: Group) -> str:
    """Describe the effect of membership of a group under the current settings.

    Reads `permissions` and `workflow_permissions`, which lists prefetch.
    """
    rows = list(group.workflow_permissions.all())
    named = sorted({row.workflow_name for row in rows})
    own = f"Workflow permissions for {', '.join(named)}." if named else ""
    return f"{_by_role(group)} {own}".strip()


def _by_role(group: Group) -> str:
    given = list(group.permissions.all())
    if not given:
        return "" if group.workflow_permissions.all() else "None."
    if not permissions.are_open():
        return "By its permissions."
    adding = [one for one in given if one.codename not in ADDS_NOTHING_WHEN_OPEN]
    if not adding:
        return "None while permissions are open: all users have these permissions."
    names = sorted(one.name.lower() for one in adding)
    more = len(names) - MAX_NAMED_PERMISSIONS
    rest = f" and {more} more" if more > 0 else ""
    listed = ", ".join(names[:MAX_NAMED_PERMISSIONS])
    return f"While permissions are open, only: {listed}{rest}."
