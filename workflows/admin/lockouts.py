"""Guessed passwords: to let somebody try again, their row is deleted."""

from __future__ import annotations

from axes.admin import AccessAttemptAdmin
from axes.models import AccessAttempt
from django.contrib import admin

from workflows.admin.audited import AuditedAdmin

admin.site.unregister(AccessAttempt)


@admin.register(AccessAttempt)
class LockoutAdmin(AuditedAdmin, AccessAttemptAdmin):  # type: ignore[misc] # axes has no types
    """Names that are locked out; who lets one in is told to the audit."""
