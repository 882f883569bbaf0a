"""The default access, chosen by an administrator: open or closed.

It applies to workflows without permission rows. `DEFAULT_ACCESS=closed` has precedence, so
that nobody who signs in can open what the operator of the server has closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import NotAllowed
from workflows.infra import notifications
from workflows.models import AccessMode, DefaultAccess

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def is_fixed() -> bool:
    """Return whether the setting closes the access, so that there is no choice."""
    return bool(settings.DEFAULT_ACCESS != permissions.OPEN)


def is_chosen() -> bool:
    """Return whether an administrator, or the setting, has decided."""
    return is_fixed() or DefaultAccess.objects.exists()


def choose(mode: AccessMode, *, by: User) -> None:
    """Store the access. Raises NotAllowed without the permission, or if it is fixed."""
    permissions.require(permissions.can_administer(by), "change the default access")
    if is_fixed():
        raise NotAllowed(
            "The default access is closed by the setting DEFAULT_ACCESS of the server."
        )
    row = DefaultAccess.objects.first() or DefaultAccess()
    with audit_events.changing(
        "change default access", row, by=by, reason=mode.label.lower()
    ):
        row.mode, row.chosen_by_name = mode, by.get_username()
        row.chosen_at = timezone.now()
        row.save()
        notifications.lists_changed_on_commit()
