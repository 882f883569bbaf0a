"""Workflow permissions, roles and accounts, protected against privilege escalation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.utils.safestring import SafeString, mark_safe

from workflows.access import permissions
from workflows.access.roles import ADDS_NOTHING_WHEN_OPEN
from workflows.admin.audited import AuditedAdmin
from workflows.models import WorkflowPermission

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

FLAGS = ("can_view", "can_launch", "can_operate", "can_approve", "can_read")
MAX_NAMED_PERMISSIONS = 3  # of a group in the list
GRANT, REVOKE = "grant permission", "revoke permission"  # audit actions
SUPERUSER_FIELDS = ("is_superuser", "user_permissions")  # editable by superusers only


class WorkflowPermissionForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """Permissions of a group; offers the known workflows."""

    workflow_name = forms.ChoiceField(
        label="Workflow", help_text="Workflows that are installed or have ever run."
    )

    class Meta:
        model = WorkflowPermission
        fields = ("workflow_name", "group", *FLAGS)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Set the choices of workflows."""
        super().__init__(*args, **options)
        given = WorkflowPermission.objects.order_by().values_list(
            "workflow_name", flat=True
        )
        names = permissions.names_now() | set(given.distinct())
        field: Any = self.fields["workflow_name"]
        field.choices = [("", "---------"), *((name, name) for name in sorted(names))]


@admin.register(WorkflowPermission)
class WorkflowPermissionAdmin(AuditedAdmin):
    """Permissions on the runs of workflows."""

    form = WorkflowPermissionForm
    list_display = ("workflow_name", "group_name", *FLAGS)
    list_filter = ("workflow_name", "group")
    list_select_related = ("group",)
    fieldsets = (
        (
            None,
            {
                "fields": ("workflow_name", "group"),
                "description": mark_safe(
                    "Without a row here, access to a workflow depends on the setting"
                    " <code>DEFAULT_ACCESS</code> and the roles. As soon as a row grants"
                    " “view”, access is limited to the groups in such rows, auditors and"
                    " administrators."
                ),
            },
        ),
        ("Permissions", {"fields": FLAGS}),
    )

    @admin.display(description="Group", ordering="group__name")
    def group_name(self, right: WorkflowPermission) -> str | SafeString:
        """Return the group."""
        return right.group.name if right.group else "all users"

    def recorded(self) -> tuple[str, ...]:
        """Return the actions for granting and revoking."""
        return GRANT, REVOKE

    def describe(self, verb: str, row: Any, message: str) -> tuple[str, str]:  # noqa: ARG002 - the flags say more
        """Return the granted permissions, or the revocation."""
        if verb == "delete":
            return REVOKE, str(row)
        given = ", ".join(name for name in FLAGS if getattr(row, name))
        return GRANT, f"{row}: {given.replace('can_', '')}"


admin.site.unregister([User, Group])


@admin.register(Group)
class RoleAdmin(AuditedAdmin, GroupAdmin):
    """Groups: roles, and groups with workflow permissions."""

    list_display = ("name", "effect")
    fields = ("name", "effect", "permissions")
    readonly_fields = ("effect",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """Return the groups with the relations that `effect` reads."""
        rows: QuerySet[Group] = super().get_queryset(request)
        return rows.prefetch_related("permissions", "workflow_permissions")

    @admin.display(description="Effect on pages")
    def effect(self, group: Group) -> str:
        """Describe the effect of membership under the current settings."""
        if not group.pk:  # one that is being added
            return "None yet."
        rows = list(group.workflow_permissions.all())
        named = sorted({row.workflow_name for row in rows})
        own = f"Workflow permissions for {', '.join(named)}." if named else ""
        return f"{self._by_role(group)} {own}".strip()

    def _by_role(self, group: Group) -> str:
        given = list(group.permissions.all())
        if not given:
            return "" if group.workflow_permissions.all() else "None."
        if not permissions.are_open():
            return "By its permissions."
        adding = [one for one in given if one.codename not in ADDS_NOTHING_WHEN_OPEN]
        if not adding:
            return "None while permissions are open: all users have these permissions."
        names = ", ".join(
            sorted(one.name.lower() for one in adding)[:MAX_NAMED_PERMISSIONS]
        )
        more = (
            f" and {len(adding) - MAX_NAMED_PERMISSIONS} more"
            if len(adding) > MAX_NAMED_PERMISSIONS
            else ""
        )
        return f"While permissions are open, only: {names}{more}."


@admin.register(User)
class AccountAdmin(AuditedAdmin, UserAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Accounts. Only superusers create or change superusers or grant user permissions.

    Django's own page lets anyone who can change accounts become a superuser.
    """

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list[str]:
        """Return the fields that this person cannot change."""
        fields = super().get_readonly_fields(request, obj)
        return [*fields, *(() if _is_superuser(request) else SUPERUSER_FIELDS)]

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return whether this person may change an account and its password."""
        return super().has_change_permission(request, obj) and _can_change(request, obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return whether this person may delete an account."""
        return super().has_delete_permission(request, obj) and _can_change(request, obj)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _can_change(request: HttpRequest, obj: Model | None) -> bool:
    return _is_superuser(request) or not getattr(obj, "is_superuser", False)
