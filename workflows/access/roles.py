"""The roles: Django groups that the migrations make, and the permissions they come with.

What each means is told in docs/rights.md. A group is an administrator's to change: it is
made once, and never set back to what stands here.
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
)
ACCOUNTS = ("user", "group")

ADDS_NOTHING_WHEN_OPEN = frozenset(
    {
        *("view_run", "launch_run", "operate_run", "approve_run"),
        *("view_document", "add_document"),
    }
)
"""Permissions that everyone has on pages anyway while permissions are open."""

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


def make(group: Any, permission: Any) -> None:
    """Make the roles that are not there; takes the models, as a migration knows them."""
    for name in ROLES:
        role, is_new = group.objects.get_or_create(name=name)
        if is_new:  # a team's own group of that name keeps what it has
            role.permissions.set(permissions_of(name, permission))


def permissions_of(name: str, permission: Any) -> list[Any]:
    """Return the permissions of a role, of the models that there are."""
    ours = permission.objects.filter(content_type__app_label__in=("workflows", "auth"))
    return [one for one in ours.select_related("content_type") if _is_of(name, one)]


def _is_of(role: str, permission: Any) -> bool:
    codename, app = permission.codename, permission.content_type.app_label
    named = ROLES[role]
    if app == "workflows" and codename.startswith("view_") and "view_*" in named:
        return True
    return codename in named
