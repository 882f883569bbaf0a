"""Rights by workflow, to be given and taken; and accounts, which nobody rises above by."""

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

TICKS = ("may_see", "may_launch", "may_operate", "may_approve", "may_read")
SHOWN = 3  # permissions that are named of a group
GIVE, TAKE = "give rights", "take rights"
ABOVE = ("is_superuser", "user_permissions")  # what only a superuser gives


class WorkflowPermissionForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """One row of rights; the workflow is chosen among those that there are."""

    workflow_name = forms.ChoiceField(
        label="Workflow", help_text="Those installed, and those that have ever run."
    )

    class Meta:
        model = WorkflowPermission
        fields = ("workflow_name", "group", *TICKS)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Offer the workflows."""
        super().__init__(*args, **options)
        given = WorkflowPermission.objects.order_by().values_list(
            "workflow_name", flat=True
        )
        names = permissions.names_now() | set(given.distinct())
        field: Any = self.fields["workflow_name"]
        field.choices = [("", "---------"), *((name, name) for name in sorted(names))]


@admin.register(WorkflowPermission)
class WorkflowPermissionAdmin(AuditedAdmin):
    """Who may do what with the runs of which workflow."""

    form = WorkflowPermissionForm
    list_display = ("workflow_name", "whom", *TICKS)
    list_filter = ("workflow_name", "group")
    list_select_related = ("group",)
    fieldsets = (
        (
            None,
            {
                "fields": ("workflow_name", "group"),
                "description": mark_safe(
                    "A workflow that nobody was given rights for is as open as the"
                    " setting <code>DEFAULT_ACCESS</code> and the roles make it. As soon"
                    " as somebody may see it by a row here, it is for those who are named"
                    " in such rows, for auditors, who see all, and for administrators."
                ),
            },
        ),
        ("Members may", {"fields": TICKS}),
    )

    @admin.display(description="For", ordering="group__name")
    def whom(self, right: WorkflowPermission) -> str | SafeString:
        """Return the group."""
        return right.group.name if right.group else "everyone signed in"

    def recorded(self) -> tuple[str, ...]:
        """Return that rights are given and taken."""
        return GIVE, TAKE

    def told(self, verb: str, row: Any, message: str) -> tuple[str, str]:  # noqa: ARG002 - the ticks say more
        """Return that rights were given, and which, or that they were taken."""
        if verb == "delete":
            return TAKE, str(row)
        given = ", ".join(name for name in TICKS if getattr(row, name))
        return GIVE, f"{row}: {given.replace('may_', '')}"


admin.site.unregister([User, Group])


@admin.register(Group)
class RoleAdmin(AuditedAdmin, GroupAdmin):
    """Groups: roles, and those that rights are given to."""

    list_display = ("name", "effect")
    fields = ("name", "effect", "permissions")
    readonly_fields = ("effect",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """Return the groups with what `effect` reads of each."""
        rows: QuerySet[Group] = super().get_queryset(request)
        return rows.prefetch_related("permissions", "workflow_permissions")

    @admin.display(description="Effect on pages")
    def effect(self, group: Group) -> str:
        """Say what members may do by this group, as permissions are set just now."""
        if not group.pk:  # one that is being added
            return "None yet."
        rows = list(group.workflow_permissions.all())
        named = sorted({row.workflow_name for row in rows})
        own = f"Rights of its own for {', '.join(named)}." if named else ""
        return f"{self._by_role(group)} {own}".strip()

    def _by_role(self, group: Group) -> str:
        given = list(group.permissions.all())
        if not given:
            return "" if group.workflow_permissions.all() else "None."
        if not permissions.are_open():
            return "By its permissions."
        adding = [one for one in given if one.codename not in ADDS_NOTHING_WHEN_OPEN]
        if not adding:
            return "None while permissions are open: everyone may do this and more."
        names = ", ".join(sorted(one.name.lower() for one in adding)[:SHOWN])
        more = f" and {len(adding) - SHOWN} more" if len(adding) > SHOWN else ""
        return f"While permissions are open, only: {names}{more}."


@admin.register(User)
class AccountAdmin(AuditedAdmin, UserAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Accounts. Only superusers make superusers, change them, or give single permissions.

    Django's own page lets whoever may change accounts rise to a superuser by it.
    """

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list[str]:
        """Return what this person may only look at."""
        fields = super().get_readonly_fields(request, obj)
        return [*fields, *(() if _is_above(request) else ABOVE)]

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Tell whether this person may change an account, and its password."""
        return super().has_change_permission(request, obj) and _reaches(request, obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Tell whether this person may delete an account."""
        return super().has_delete_permission(request, obj) and _reaches(request, obj)


def _is_above(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _reaches(request: HttpRequest, obj: Model | None) -> bool:
    return _is_above(request) or not getattr(obj, "is_superuser", False)
