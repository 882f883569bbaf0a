"""Sign-in lockouts; deleting a row ends the lockout."""

from __future__ import annotations

from axes.admin import AccessAttemptAdmin
from axes.models import AccessAttempt
from django.contrib import admin

from workflows.admin.audited import AuditedAdmin

admin.site.unregister(AccessAttempt)


@admin.register(AccessAttempt)
class LockoutAdmin(AuditedAdmin, AccessAttemptAdmin):  # type: ignore[misc] # axes has no types
    """Locked-out names; deletions are recorded in the audit log."""
