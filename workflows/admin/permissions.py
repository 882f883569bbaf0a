"""Workflow permissions, roles and accounts, protected against privilege escalation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User
from django.contrib.messages.storage import default_storage
from django.utils.safestring import SafeString, mark_safe

from workflows.access import permissions
from workflows.access.escalation import Power, prevented
from workflows.access.grants import effect_of
from workflows.admin.audited import AuditedAdmin
from workflows.errors import NotAllowed
from workflows.models import WorkflowPermission
from workflows.pages.request_errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponseBase

FLAGS = ("can_view", "can_launch", "can_operate", "can_approve", "can_read")
GRANT, REVOKE = "grant permission", "revoke permission"  # audit actions
RECORDED_FIELDS: Final = ("last_login", "date_joined")  # nobody enters them
SUPERUSER_FIELDS = ("is_superuser", "user_permissions")  # editable by superusers only
MESSAGES = "_messages"  # attribute of requests, of django.contrib.messages
NOT_YOURS = (
    "Only a superuser can grant what you don’t have yourself: {}. Ask one to do it."
)


class GrantingAdmin(AuditedAdmin):
    """A model that grants permissions; no user can extend their own with it.

    The forms get the account that uses them as `actor`.
    """

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Return the form, with the account that uses it."""
        form: Any = super().get_form(request, *args, **options)
        form.actor = request.user
        return form

    def changeform_view(  # type: ignore[override] # passes all arguments on
        self, request: HttpRequest, *args: Any, **options: Any
    ) -> HttpResponseBase:
        """Add or change a row."""
        return _guarded(super().changeform_view, request, *args, **options)

    def delete_view(  # type: ignore[override] # passes all arguments on
        self, request: HttpRequest, *args: Any, **options: Any
    ) -> HttpResponseBase:
        """Delete a row."""
        return _guarded(super().delete_view, request, *args, **options)

    def changelist_view(  # type: ignore[override] # passes all arguments on
        self, request: HttpRequest, *args: Any, **options: Any
    ) -> HttpResponseBase:
        """List the rows, or delete some."""
        return _guarded(super().changelist_view, request, *args, **options)


def _guarded(
    view: Callable[..., HttpResponseBase],
    request: HttpRequest,
    *args: Any,
    **options: Any,
) -> HttpResponseBase:
    """Call a view of admin; undo and refuse what extends the actor's own permissions."""
    actor: Any = request.user
    call = partial(view, request, *args, **options)
    if request.method != "POST" or not actor.is_staff:
        return call()
    try:
        with prevented(actor):
            return call()
    except NotAllowed as error:
        setattr(request, MESSAGES, default_storage(request))  # without the success
        return refused(request, error)  # type: ignore[arg-type] # as middleware sets it


class WorkflowPermissionForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """Permissions of a group; offers the known workflows."""

    actor: User

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

    def clean(self) -> dict[str, Any]:
        """Reject flags that the actor does not have; one that was set may stay."""
        values = super().clean() or {}
        name = values.get("workflow_name", "")
        is_same = not {"workflow_name", "group"} & set(self.changed_data)
        given = [
            flag
            for flag in FLAGS
            if values.get(flag) and not (is_same and self.initial.get(flag))
        ]
        power = Power.of(self.actor)
        for flag in given:
            if name and not power.can_grant(name, [flag.removeprefix("can_")]):
                label = str(self.fields[flag].label).lower()
                self.add_error(flag, NOT_YOURS.format(f"{label} on “{name}”"))
        return values


@admin.register(WorkflowPermission)
class WorkflowPermissionAdmin(GrantingAdmin):
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


class RoleForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A group; no user can add permissions to it that they do not have."""

    actor: User

    def clean_permissions(self) -> Any:
        """Return the permissions. Raises ValidationError."""
        chosen = self.cleaned_data["permissions"]
        kept = self.instance.permissions.all() if self.instance.pk else ()
        added = chosen.exclude(pk__in=[one.pk for one in kept])
        power = Power.of(self.actor)
        missing = [one for one in added if not power.can_give([one])]
        if missing:
            names = ", ".join(sorted(one.name.lower() for one in missing))
            raise forms.ValidationError(NOT_YOURS.format(names))
        return chosen


@admin.register(Group)
class RoleAdmin(GrantingAdmin, GroupAdmin):
    """Groups: roles, and groups with workflow permissions."""

    form = RoleForm

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
        return effect_of(group)


class AccountForm(UserChangeForm):  # type: ignore[type-arg] # generic for type checkers only
    """An account; no user can add it to groups that have more permissions than they have."""

    actor: User

    def clean_groups(self) -> Any:
        """Return the groups. Raises ValidationError."""
        chosen = self.cleaned_data["groups"]
        added = chosen.exclude(pk__in=self.instance.groups.values("pk"))
        power = Power.of(self.actor)
        missing = sorted(one.name for one in added if not power.can_add_to(one))
        if missing:
            raise forms.ValidationError(
                NOT_YOURS.format(f"the permissions of {', '.join(missing)}")
            )
        return chosen


@admin.register(User)
class AccountAdmin(GrantingAdmin, UserAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Accounts. Only superusers create or change superusers or grant user permissions.

    Django's own page lets anyone who can change accounts become a superuser. Others change,
    and set the passwords of, accounts that can do and see no more than their own; the
    groups of their own account are not among it.
    """

    form = AccountForm

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list[str]:
        """Return the fields that this person cannot change."""
        fields = (*super().get_readonly_fields(request, obj), *RECORDED_FIELDS)
        own = ("groups",) if obj == request.user else ()
        return [*fields, *(() if _is_superuser(request) else (*SUPERUSER_FIELDS, *own))]

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
    if obj is None or _is_superuser(request):
        return True
    actor: Any = request.user
    account: Any = obj
    return Power.of(actor).covers(Power.of(account))
