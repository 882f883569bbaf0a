"""The person to whom the tokens and the cost of a run are attributed.

That is who launched it; for a run that a service account launched, the person who created
the account. Runs of schedules and webhooks are launched by their owner, child runs by the
launcher of their parent, requests with a token by the owner of the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User

from workflows.models import ServiceAccount

if TYPE_CHECKING:
    from workflows.models import Run


def payer_of(run: Run) -> int | None:
    """Return the id of the person, None if the system launched the run."""
    launcher = run.launched_by_id
    if launcher is None:
        return None
    accounts = ServiceAccount.objects.filter(user=launcher)
    return accounts.values_list("created_by", flat=True).first() or launcher


def existing(person_id: int | None) -> int | None:
    """Return the id of a person, None if the account was deleted."""
    if person_id is None or not User.objects.filter(pk=person_id).exists():
        return None
    return person_id
