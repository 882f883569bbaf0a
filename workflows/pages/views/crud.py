"""Saving and deleting the rows of settings pages: agents, budgets, profiles and more.

Each change is recorded as an audit event in its own transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db.models import ProtectedError

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import InUse

if TYPE_CHECKING:
    from django.db.models import Model
    from django.forms import ModelForm

    from workflows.pages.requests import HtmxRequest


def require_manager(request: HtmxRequest, action: str) -> None:
    """Raise NotAllowed unless the user may manage agents; `action` completes the message."""
    permissions.require(permissions.can_manage_agents(request.user), action)


def save(
    request: HtmxRequest, form: ModelForm[Any], kind: str, *, reason: str = ""
) -> Any:
    """Save a valid form, record it as "save <kind>" and add a message; return the row."""
    with audit_events.changing(
        f"save {kind}", form.instance, by=request.user, reason=reason
    ):
        row = form.save()
    messages.success(request, f"{kind.capitalize()} “{row}” saved.")
    return row


def delete(request: HtmxRequest, row: Model, kind: str, *, reason: str = "") -> None:
    """Delete a row, record it as "delete <kind>" and add a message.

    Raises InUse if other rows refer to it.
    """
    try:
        with audit_events.changing(
            f"delete {kind}", row, by=request.user, reason=reason
        ):
            row.delete()
    except ProtectedError as error:
        names = ", ".join(sorted(str(other) for other in error.protected_objects))
        raise InUse(
            f"Not deleted: “{row}” is used by {names}. Change that first."
        ) from error
    messages.success(request, f"{kind.capitalize()} “{row}” deleted.")
