"""Record changes in Django admin as audit events, in addition to Django's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin

from workflows.audit import audit_events, snapshots

if TYPE_CHECKING:
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import User
    from django.db.models import Model, QuerySet
    from django.forms import ModelForm
    from django.http import HttpRequest

MAX_ACTION_LENGTH: Final = 30  # characters
VERBS: Final = ("add", "change", "delete")
BEFORE: Final = "_signalbox_before"  # snapshot of a row before it was saved


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Records each addition, change and deletion as an audit event, in one transaction.

    The event has the fields of the row before and after.
    """

    def __init__(self, model: type[Model], site: admin.AdminSite) -> None:
        """Declare the actions on the model."""
        super().__init__(model, site)
        audit_events.declare(audit_events.IN_ADMIN, *self.recorded())

    def recorded(self) -> tuple[str, ...]:
        """Return the actions that `describe` can return."""
        return tuple(self._action(verb) for verb in VERBS)

    def _action(self, verb: str) -> str:
        return f"{verb} {self.opts.verbose_name}"[:MAX_ACTION_LENGTH]

    def save_model(
        self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool
    ) -> None:
        """Save the row, with a snapshot of it and its relations from before."""
        setattr(obj, BEFORE, snapshots.of(obj))
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Record an addition."""
        entry = super().log_addition(request, obj, message)
        self._record(request, "add", obj, entry.get_change_message())
        return entry

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Record a change, with its fields."""
        entry = super().log_change(request, obj, message)
        self._record(request, "change", obj, entry.get_change_message())
        return entry

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Record each row before its deletion."""
        for row in queryset:
            self._record(request, "delete", row, "")
        return super().log_deletions(request, queryset)

    def describe(self, verb: str, row: Any, message: str) -> tuple[str, str]:
        """Return the action and the reason of the event."""
        reason = f"{row}: {message}" if message else str(row)
        return self._action(verb), reason

    def _record(
        self, request: HttpRequest, verb: str, row: Model, message: str
    ) -> None:
        user: User = request.user  # type: ignore[assignment] # admin requires a sign-in
        action, reason = self.describe(verb, row, message)
        current = snapshots.of(row)
        before = getattr(row, BEFORE, current)
        after = current if verb != "delete" else {}
        changed = snapshots.difference(before, after)
        audit_events.note(action, by=user, reason=reason, changed=changed)
