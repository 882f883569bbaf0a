"""The audit trail: every human action on a run is one row, appended and never edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.models import Intervention

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import Run, SavedView


def entry(
    run: Run,
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str = "",
    after: str = "",
) -> Intervention:
    """Return the row of what someone did to a run, to be written with what it did."""
    return Intervention(
        actor_id=by.pk if by else None,
        actor_name=by.get_username() if by else "system",
        action=action,
        run=run,
        reason=reason,
        status_before=run.status if action != "launch" else "",
        status_after=after,
    )


def record(run: Run, action: str, **facts: Any) -> Intervention:
    """Append what someone did to a run; call it in the transaction that does it.

    Takes what `entry` takes.
    """
    row = entry(run, action, **facts)
    row.save(force_insert=True)
    return row


def record_view(
    view: SavedView, action: str, *, by: AbstractBaseUser | None
) -> Intervention:
    """Append what someone did to a saved view."""
    shared = ", shared" if view.shared else ""
    return Intervention.objects.create(
        actor_id=by.pk if by else None,
        actor_name=by.get_username() if by else "system",
        action=action,
        reason=f"{view.name}{shared}: {view.query}",
    )


def note(action: str, *, by: AbstractBaseUser, reason: str) -> Intervention:
    """Append what someone did to what all runs share: an agent, a profile, a budget."""
    return Intervention.objects.create(
        actor_id=by.pk, actor_name=by.get_username(), action=action, reason=reason
    )
