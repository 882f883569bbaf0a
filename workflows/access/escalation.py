"""Protection against privilege escalation by people who manage accounts and groups.

Nobody but a superuser gives what they do not have, to themselves or to an account whose
password they can set: permissions of Django, and access to data that is restricted to
groups. The rule is that of Kubernetes for roles and role bindings.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction

from workflows.access.permissions import (
    Permissions,
    WorkflowSet,
    permissions_for,
)
from workflows.errors import NotAllowed
from workflows.models import WorkflowPermission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Power:
    """What an account can do."""

    is_superuser: bool
    codes: frozenset[str]  # permissions of Django, such as auth.change_user
    granted: Permissions

    @classmethod
    def of(cls, account: User) -> Power:
        """Return the power of an account, by the database; of an inactive one as if active.

        It could be activated again, with the password that it has got meanwhile.
        """
        fresh = User.objects.get(pk=account.pk)
        fresh.is_active = True
        codes = frozenset(fresh.get_all_permissions())
        return cls(fresh.is_superuser, codes, permissions_for(fresh))

    def covers(self, other: Power) -> bool:
        """Return whether the other can do and see nothing more.

        Membership of groups is not compared: an account manager can put others into
        groups of approvers. `has_grown_since` compares it too.
        """
        if self.is_superuser:
            return True
        return (
            not other.is_superuser
            and other.codes <= self.codes
            and other.granted.read.is_within(self.granted.read)
        )

    def has_grown_since(self, before: Power) -> bool:
        """Return whether the account can do anything that it could not do before."""
        if before.is_superuser:
            return False
        return not (before.covers(self) and _is_within(self.granted, before.granted))

    def can_give(self, given: Iterable[Permission]) -> bool:
        """Return whether the account has these permissions of Django itself."""
        if self.is_superuser:
            return True
        names = {f"{one.content_type.app_label}.{one.codename}" for one in given}
        return names <= self.codes

    def can_grant(self, name: str, verbs: Iterable[str]) -> bool:
        """Return whether the account has permissions on a workflow, such as launch, itself."""
        return all(name in getattr(self.granted, verb) for verb in verbs)

    def can_add_to(self, group: Group) -> bool:
        """Return whether the account has what membership of a group gives."""
        rows = WorkflowPermission.objects.filter(group=group, can_read=True)
        names = rows.values_list("workflow_name", flat=True)
        given = group.permissions.select_related("content_type")
        readable = all(self.can_grant(name, ["read"]) for name in names)
        return readable and self.can_give(given)


def _is_within(after: Permissions, before: Permissions) -> bool:
    for field in fields(Permissions):
        new, old = getattr(after, field.name), getattr(before, field.name)
        if isinstance(new, WorkflowSet):
            if not new.is_within(old):
                return False
        elif field.name == "groups":
            if old is not None and (new is None or not new <= old):
                return False
        elif new and not old:
            return False
    return True


@contextmanager
def prevented(actor: User) -> Iterator[None]:
    """Undo the changes of this block if they give the actor more than before.

    This finds what no form checks: a renamed group, a deleted row that restricted data.
    Raises NotAllowed.
    """
    with transaction.atomic():
        before = Power.of(actor)
        yield
        if Power.of(actor).has_grown_since(before):
            raise NotAllowed(
                "Not saved: this change would extend your own permissions. Ask a superuser"
                " to make it."
            )
