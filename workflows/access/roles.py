"""Roles: Django groups created by the migrations, with their initial permissions.

docs/permissions.md describes each role. Administrators may change the groups: a group is
created once and never reset.
"""

from __future__ import annotations

from typing import Any

VIEWER, LAUNCHER, OPERATOR, AUDITOR, ADMIN = (
    "viewer",
    "launcher",
    "operator",
    "auditor",
    "admin",
)
SEE = ("view_run",)
LAUNCH = (*SEE, "launch_run", "view_document", "add_document")
OPERATE = (*LAUNCH, "operate_run", "approve_run", "view_worker")
SET_UP = (
    "provider",
    "agent",
    "price",
    "profile",
    "budget",
    "workflowpermission",
    "document",
    "retention",
    "destination",
    "variable",
)
ACCOUNTS = ("user", "group")

ADDS_NOTHING_WHEN_OPEN = frozenset(
    {
        *("view_run", "launch_run", "operate_run", "approve_run"),
        *("view_document", "add_document"),
    }
)
"""Permissions that every user has on pages while permissions are open."""

ROLES: dict[str, tuple[str, ...]] = {
    VIEWER: SEE,
    LAUNCHER: LAUNCH,
    OPERATOR: OPERATE,
    AUDITOR: ("view_*", "audit_run"),
    ADMIN: (
        "view_*",
        *OPERATE,
        "administer_run",
        *(f"{verb}_{name}" for name in SET_UP for verb in ("add", "change", "delete")),
        *(
            f"{verb}_{name}"
            for name in ACCOUNTS
            for verb in ("view", "add", "change", "delete")
        ),
    ),
}


def create_missing(group: Any, permission: Any) -> None:
    """Create the missing roles; takes the models, so that migrations can call it."""
    for name in ROLES:
        role, is_new = group.objects.get_or_create(name=name)
        if is_new:  # an existing group of that name keeps its permissions
            role.permissions.set(permissions_of(name, permission))


def permissions_of(name: str, permission: Any) -> list[Any]:
    """Return the permissions of a role on the existing models."""
    ours = permission.objects.filter(content_type__app_label__in=("workflows", "auth"))
    return [one for one in ours.select_related("content_type") if _is_of(name, one)]


def _is_of(role: str, permission: Any) -> bool:
    codename, app = permission.codename, permission.content_type.app_label
    named = ROLES[role]
    if app == "workflows" and codename.startswith("view_") and "view_*" in named:
        return True
    return codename in named
