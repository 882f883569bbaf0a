"""Who is notified of an event: people who follow it and may see it now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q

from workflows.access import permissions
from workflows.models import (
    Approval,
    ApprovalStatus,
    Chat,
    EventKind,
    Followed,
    Mail,
    Notification,
    Subscription,
)
from workflows.services.approvals import may_respond, named_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.models import OutboxEvent, SavedView

logger = logging.getLogger(__name__)
Matcher = Callable[["SavedView", "User", UUID], bool]

FAILURES: Final = frozenset(
    {
        *(EventKind.RUN_FAILED, EventKind.SCHEDULE_MISSED),
        *(EventKind.ALERT_RAISED, EventKind.ALERT_CLEARED),
    }
)
RUN_ENDS: Final = frozenset(
    {EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED}
)
# One notification for each message would be too many for followers of a workflow
MESSAGES: Final = frozenset(
    {
        *(EventKind.EVENT_SENT, EventKind.EVENT_RECEIVED),
        EventKind.CALLBACK_RECEIVED,
    }
)
# For those whom they are addressed to
ADDRESSED: Final = frozenset(
    {
        EventKind.APPROVAL_REASSIGNED,
        EventKind.APPROVAL_ESCALATED,
        EventKind.APPROVAL_REMINDED,
    }
)
# Who can respond; permissions of members are read one by one
MAX_ADDRESSED: Final = 200
MAILS: Final = (Mail.NONE, Mail.DAILY, Mail.EACH)  # the last one wins


@dataclass(slots=True)
class Channels:
    """How a person is notified, in addition to the notification centre."""

    mail: Mail = Mail.NONE
    chat: Chat = Chat.NONE

    def add(self, one: Subscription) -> None:
        """Add the wish of a subscription."""
        self.mail = max(self.mail, Mail(one.mail), key=MAILS.index)
        if one.chat == Chat.EACH:
            self.chat = Chat.EACH


_matchers: list[Matcher] = []


def match_views_with(matcher: Matcher) -> None:
    """Set what decides whether a run is in a saved view of a person."""
    _matchers[:] = [matcher]


def relevant(events: Sequence[OutboxEvent]) -> list[Subscription]:
    """Return the subscriptions that one of these events may belong to."""
    names = {event.workflow_name for event in events}
    runs = {event.run_id.hex for event in events if event.run_id}
    kinds = (Followed.VIEW, Followed.APPROVALS, Followed.FAILURES)
    wanted = (
        Q(kind__in=kinds)
        | Q(kind=Followed.WORKFLOW, target__in=names)
        | Q(kind=Followed.RUN, target__in=runs)
    )
    rows = Subscription.objects.filter(wanted, user__is_active=True)
    found = list(rows.select_related("user", "view"))
    users: dict[int, User] = {}
    for one in found:  # permissions are cached on the user object
        one.user = users.setdefault(one.user_id, one.user)
    return found


def of(
    event: OutboxEvent, subscriptions: Iterable[Subscription]
) -> Mapping[User, Channels]:
    """Return who is notified of an event, and how."""
    found: dict[User, Channels] = {}
    for one in subscriptions:
        if is_wanted(one, event):
            found.setdefault(one.user, Channels()).add(one)
    for user in addressees(event):
        found.setdefault(user, Channels())
    return found


def addressees(event: OutboxEvent) -> list[User]:
    """Return whom an event is addressed to, who can respond: the assignee, or the approvers.

    Not everyone where everyone may respond: those who follow approvals are notified.
    """
    if event.kind not in ADDRESSED:
        return []
    approval = _open_approval(event)
    if approval is None:
        return []
    people = User.objects.filter(is_active=True)
    if event.facts["person"] is not None:
        people = people.filter(pk=event.facts["person"])
    else:
        names = [event.facts["group"]] if event.facts["group"] else approval.groups
        people = people.filter(groups__name__in=names).distinct()
    people = named_by(approval, people)
    able = (
        one
        for one in people.order_by("pk").iterator(chunk_size=MAX_ADDRESSED)
        if may_respond(approval, one)
    )
    found = list(islice(able, MAX_ADDRESSED))
    if next(able, None) is not None:
        logger.warning(
            "%s of run %s: only the first %d who can respond are notified.",
            *(event.get_kind_display(), event.run_id, MAX_ADDRESSED),
        )
    return found


def _open_approval(event: OutboxEvent) -> Approval | None:
    rows = Approval.objects.filter(
        pk=event.facts["approval"], status=ApprovalStatus.OPEN
    )
    return rows.select_related("run").first()


def still_visible(owner: User, ids: Iterable[int]) -> list[Notification]:
    """Return those of a person's notifications that they may see now, oldest first."""
    mine = Notification.objects.filter(user=owner, pk__in=list(ids))
    return list(permissions.visible(owner, mine).order_by("pk"))


def is_wanted(one: Subscription, event: OutboxEvent) -> bool:
    """Return whether an event belongs to a subscription, and its person may see it."""
    if not permissions.can_view(one.user, event.workflow_name):
        return False
    if one.kind == Followed.WORKFLOW:
        is_for_others = event.kind in MESSAGES or event.kind in ADDRESSED
        return one.target == event.workflow_name and not is_for_others
    if one.kind == Followed.RUN:
        return event.run_id is not None and one.target == event.run_id.hex
    return _IS_WANTED[one.kind](one, event)


def _is_failure(_: Subscription, event: OutboxEvent) -> bool:
    return event.kind in FAILURES


def _is_for_me(one: Subscription, event: OutboxEvent) -> bool:
    if event.kind not in {EventKind.APPROVAL_REQUESTED, *ADDRESSED}:
        return False
    approval = _open_approval(event)
    may = approval is not None and may_respond(approval, one.user)
    return may and _is_addressed_to(one.user, event)


def _is_addressed_to(person: User, event: OutboxEvent) -> bool:
    """Return whether an event is for this person, or for all approvers."""
    person_id, group = event.facts.get("person"), event.facts.get("group")
    if person_id is not None:
        return bool(person_id == person.pk)
    return not group or person.groups.filter(name=group).exists()


def _is_in_view(one: Subscription, event: OutboxEvent) -> bool:
    if event.kind not in RUN_ENDS or event.run_id is None or one.view is None:
        return False
    is_readable = one.view.shared or one.view.owner_id == one.user_id
    return is_readable and any(
        matches(one.view, one.user, event.run_id) for matches in _matchers
    )


_IS_WANTED: Final[dict[str, Callable[[Subscription, OutboxEvent], bool]]] = {
    Followed.FAILURES: _is_failure,
    Followed.APPROVALS: _is_for_me,
    Followed.VIEW: _is_in_view,
}
