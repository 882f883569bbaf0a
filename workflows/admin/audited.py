"""What is changed in Django admin is told to the audit, beside Django's own log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin

from workflows.audit import snapshots, trail

if TYPE_CHECKING:
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import User
    from django.db.models import Model, QuerySet
    from django.forms import ModelForm
    from django.http import HttpRequest

MAX_ACTION_LENGTH: Final = 30  # characters
VERBS: Final = ("add", "change", "delete")
WAS: Final = "_signalbox_was"  # what a row said before it was saved


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Each addition, change and deletion is an intervention, in the same transaction.

    It says what the row was and is.
    """

    def __init__(self, model: type[Model], site: admin.AdminSite) -> None:
        """Declare what will be recorded of the model."""
        super().__init__(model, site)
        trail.declare(trail.IN_ADMIN, *self.recorded())

    def recorded(self) -> tuple[str, ...]:
        """Return the actions that `told` gives names to."""
        return tuple(self._action(verb) for verb in VERBS)

    def _action(self, verb: str) -> str:
        return f"{verb} {self.opts.verbose_name}"[:MAX_ACTION_LENGTH]

    def save_model(
        self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool
    ) -> None:
        """Keep in mind what the row was, with those it is linked to, and save it."""
        setattr(obj, WAS, snapshots.of(obj))
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Tell of a row that was added."""
        entry = super().log_addition(request, obj, message)
        self._tell(request, "add", obj, entry.get_change_message())
        return entry

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Tell of a row that was changed, and of which fields."""
        entry = super().log_change(request, obj, message)
        self._tell(request, "change", obj, entry.get_change_message())
        return entry

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Tell of each row that is about to be deleted."""
        for row in queryset:
            self._tell(request, "delete", row, "")
        return super().log_deletions(request, queryset)

    def told(self, verb: str, row: Any, message: str) -> tuple[str, str]:
        """Return the name of what was done to a row, and what is said of it."""
        said = f"{row}: {message}" if message else str(row)
        return self._action(verb), said

    def _tell(self, request: HttpRequest, verb: str, row: Model, message: str) -> None:
        user: User = request.user  # type: ignore[assignment] # admin asks members only
        action, said = self.told(verb, row, message)
        there = snapshots.of(row)
        was, now = getattr(row, WAS, there), there if verb != "delete" else {}
        changed = snapshots.difference(was, now)
        trail.note(action, by=user, reason=said, changed=changed)
