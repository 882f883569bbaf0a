"""Permissions to view, launch, operate, approve and read: the only place that decides.

Permissions are granted per workflow to groups, or by a role; docs/permissions.md has the rules
and the resulting table. The permissions of a person are read once per request, as sets of
workflow names, so that lists can filter by them. `System` checks them before each action;
pages, sockets and admin query rows of many runs through `visible`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet

from workflows.errors import NotAllowed
from workflows.models import (
    AccessMode,
    DefaultAccess,
    Document,
    DocumentUse,
    RunFile,
    RunTally,
    WorkflowPermission,
)
from workflows.registry import registry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

    from workflows.models import Approval, Run

    Person = AbstractBaseUser | AnonymousUser

Rows = TypeVar("Rows", bound=QuerySet[Any])
CACHE_ATTRIBUTE = "_signalbox_permissions"  # of a user, as Django caches permissions
# of a user that a request with an API token acts as: whether the token gives less than
# everything that the user may do (`access/tokens.py`)
LIMITS_ATTRIBUTE = "_signalbox_is_limited"
OPEN = "open"
EVER_RAN_CACHE_SECONDS = 60  # for the names of workflows that have ever run


# Sets of workflows ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkflowSet:
    """A set of workflow names: the given ones, or all except the given ones."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, name: str) -> bool:
        """Return whether the set contains a workflow."""
        return (name in self.names) != self.all_but

    def __and__(self, other: WorkflowSet) -> WorkflowSet:
        """Return the intersection."""
        if self.all_but and other.all_but:
            return WorkflowSet(self.names | other.names, all_but=True)
        if self.all_but:
            return WorkflowSet(other.names - self.names)
        kept = (name for name in self.names if name in other)
        return WorkflowSet(frozenset(kept))

    def is_within(self, other: WorkflowSet) -> bool:
        """Return whether the other set contains all of this one."""
        complement = WorkflowSet(other.names, all_but=not other.all_but)
        return not (self & complement).is_any

    @property
    def are_all(self) -> bool:
        """Return whether the set contains every workflow."""
        return self.all_but and not self.names

    @property
    def is_any(self) -> bool:
        """Return whether the set can contain a workflow."""
        return self.all_but or bool(self.names)

    def q(self, field: str = "workflow_name") -> Q:
        """Return the condition that `field` is in the set."""
        among = Q(**{f"{field}__in": sorted(self.names)})
        return ~among if self.all_but else among


ALL, NONE = WorkflowSet(all_but=True), WorkflowSet()


@dataclass(frozen=True, slots=True)
class Permissions:
    """Permissions of a person; equal for all people who get the same pages."""

    view: WorkflowSet = NONE
    launch: WorkflowSet = NONE
    operate: WorkflowSet = NONE
    approve: WorkflowSet = NONE
    read: WorkflowSet = NONE  # params, results, states, reasons, errors, logs
    groups: frozenset[str] | None = (
        frozenset()
    )  # names; None: as if a member of every group
    documents: bool = False  # documents that no run uses
    workers: bool = False  # workers and the queue

    def can_note(self, name: str) -> bool:
        """Return whether notes are permitted: with any permission but view."""
        return any(name in one for one in (self.launch, self.operate, self.approve))


NOTHING = Permissions()
EVERYTHING = Permissions(ALL, ALL, ALL, ALL, ALL, None, documents=True, workers=True)


def are_open() -> bool:
    """Return whether workflows without rows are open to all users.

    `DEFAULT_ACCESS=closed` closes them, and so can an administrator (`services/default_access.py`).
    """
    if settings.DEFAULT_ACCESS != OPEN:
        return False
    return not DefaultAccess.objects.filter(mode=AccessMode.CLOSED).exists()


# Lookup ---------------------------------------------------------------------------------


def is_member(person: Person) -> bool:
    """Return whether this is a signed-in user with an active account."""
    return bool(person.is_authenticated and person.is_active)


def permissions_for(person: Person) -> Permissions:
    """Return the permissions of a person, cached on the user object."""
    if not is_member(person):
        return NOTHING
    known: Permissions | None = getattr(person, CACHE_ATTRIBUTE, None)
    if known is None:
        known = _permissions(cast("User", person))
        setattr(person, CACHE_ATTRIBUTE, known)
    return known


def _permissions(person: User) -> Permissions:
    if person.is_superuser:
        return EVERYTHING
    rules = _Rules(person)
    view = rules.to("view", role="view_run")
    return Permissions(
        view=view,
        launch=view & rules.to("launch", role="launch_run"),
        operate=view & rules.to("operate", role="operate_run"),
        approve=view & rules.to("approve", role="approve_run"),
        read=view & rules.to_read,
        groups=frozenset(rules.groups.values()),
        documents=rules.is_open or person.has_perm("workflows.view_document"),
        workers=person.has_perm("workflows.view_worker"),
    )


class _Rules:
    """Permissions of one person by rows and roles."""

    def __init__(self, person: User) -> None:
        self._person = person
        self.is_open = are_open()
        self.groups = dict(person.groups.values_list("pk", "name"))
        self._rows = list(WorkflowPermission.objects.all())
        self._mine = [
            row
            for row in self._rows
            if row.group_id is None or row.group_id in self.groups
        ]

    def to(self, verb: str, *, role: str) -> WorkflowSet:
        """Return the workflows for which the person has a permission.

        1. All workflows for administrators, and to view for auditors.
        2. For a restricted workflow: by its rows.
        3. For any other: all if permissions are open by default, else by the role.
        """
        if self._has("administer_run") or (verb == "view" and self._has("audit_run")):
            return ALL
        given = _named(self._mine, f"can_{verb}")
        if not (self.is_open or self._has(role)):
            return WorkflowSet(given)
        return WorkflowSet(_restricted(self._rows) - given, all_but=True)

    @property
    def to_read(self) -> WorkflowSet:
        """The workflows whose values are not restricted to other groups."""
        kept, mine = (_named(rows, "can_read") for rows in (self._rows, self._mine))
        return WorkflowSet(kept - mine, all_but=True)

    def _has(self, permission: str) -> bool:
        return self._person.has_perm(f"workflows.{permission}")


def _named(rows: Iterable[WorkflowPermission], flag: str) -> frozenset[str]:
    return frozenset(row.workflow_name for row in rows if getattr(row, flag))


def _restricted(rows: Iterable[WorkflowPermission]) -> frozenset[str]:
    """Return the workflows that are restricted to groups with rows."""
    return frozenset(row.workflow_name for row in rows if row.restricts)


def reload_user(person: User, session: SessionBase | None) -> User | None:
    """Reload a user of an open connection, since permissions may have changed.

    Return None if the session has ended (signed out, expired, deleted, used by another
    account), the account was deactivated, or the password changed.
    """
    same = User.objects.filter(pk=person.pk, is_active=True, password=person.password)
    user = same.first()
    if user is None or session is None:
        return user
    # A new store: the store of an open socket caches what it read on connect, and
    # `exists` is true for an expired session.
    store = import_module(settings.SESSION_ENGINE).SessionStore
    stored = store(session.session_key)
    return user if stored.get(SESSION_KEY) == str(user.pk) else None


# Rows -----------------------------------------------------------------------------------


def visible(
    person: Person, rows: Rows, field: str = "workflow_name", *, read: bool = False
) -> Rows:
    """Return the rows that a person may see: runs, decisions, tallies, approvals.

    Every list of pages, sockets and admin goes through this function. `field` is the
    lookup of the workflow name; `read` limits the rows to workflows whose values the
    person may read.
    """
    granted = permissions_for(person)
    names = granted.read if read else granted.view
    if names.are_all:
        return rows
    if names.all_but:  # an index serves IN, not NOT IN
        names = WorkflowSet(known_names() - names.names)
    return rows.filter(names.q(field))


def known_names() -> frozenset[str]:
    """Return the names of workflows that are installed or have ever run.

    The latter are cached: only an installed workflow can be added to them.
    """
    now = time.monotonic()
    if now >= _ever_ran.until:
        _ever_ran.names = _names_that_ran()
        _ever_ran.until = now + EVER_RAN_CACHE_SECONDS
    return _ever_ran.names | _installed()


def names_now() -> frozenset[str]:
    """Return the names of workflows that are installed or have ever run, uncached."""
    return _names_that_ran() | _installed()


def _names_that_ran() -> frozenset[str]:
    counted = RunTally.objects.order_by().values_list("workflow_name", flat=True)
    return frozenset(counted.distinct())


def _installed() -> frozenset[str]:
    return frozenset(one.name for one in registry.list())


class _EverRan:
    names: frozenset[str] = frozenset()
    until = float("-inf")  # on the monotonic clock


_ever_ran = _EverRan()


def visible_documents(person: Person) -> QuerySet[Document]:
    """Return the documents that a person may see.

    These are their own uploads, documents of runs whose values they may read and, with
    the permission for documents, those that no run uses.
    """
    own = Q(uploaded_by=person.pk) | Q(
        Exists(
            Document.holders.through.objects.filter(
                document=OuterRef("pk"), user=person.pk
            )
        )
    )
    return documents_for(permissions_for(person), own)


def documents_for(granted: Permissions, also: Q | None = None) -> QuerySet[Document]:
    """Return the documents visible with these permissions, and those that match `also`."""
    rows = Document.objects.all()
    if granted.read.are_all and granted.documents:
        return rows
    uses = DocumentUse.objects.filter(document=OuterRef("pk"))
    readable = Q(Exists(uses.filter(granted.read.q())))
    if granted.documents:
        readable |= ~Q(Exists(uses))
    return rows.filter(readable if also is None else readable | also)


def visible_files(person: Person) -> QuerySet[RunFile]:
    """Return the files of runs whose values a person may read."""
    return files_for(permissions_for(person))


def files_for(granted: Permissions) -> QuerySet[RunFile]:
    """Return the files of runs whose values these permissions allow to read."""
    return RunFile.objects.filter(granted.read.q("run__workflow_name"))


# One run, one workflow ------------------------------------------------------------------


def can_view(person: Person, name: str) -> bool:
    """Return whether a person may see the runs of a workflow."""
    return name in permissions_for(person).view


def can_read(person: Person, name: str) -> bool:
    """Return whether a person may read the values of runs of a workflow."""
    return name in permissions_for(person).read


def can_view_run(person: Person, run: Run) -> bool:
    """Return whether this person may see the run."""
    return can_view(person, run.workflow_name)


def can_operate_run(person: Person, run: Run) -> bool:
    """Return whether this person may cancel, resume, label or delete the run."""
    return run.workflow_name in permissions_for(person).operate


def can_note_run(person: Person, run: Run) -> bool:
    """Return whether this person may write notes about the run."""
    return permissions_for(person).can_note(run.workflow_name)


def can_approve_run(person: Person, run: Run) -> bool:
    """Return whether this person may respond to approvals of the run.

    This requires the permission to read its values, which the approval shows.
    """
    granted = permissions_for(person)
    return run.workflow_name in granted.approve and run.workflow_name in granted.read


def is_approver(granted: Permissions, approval: Approval) -> bool:
    """Return whether these permissions suffice to respond to an approval.

    `services.approvals.refusal` returns what else may forbid it to a person.
    """
    return approval.run.workflow_name in (granted.approve & granted.read) and is_for(
        approval.groups, granted.groups
    )


def is_for(approvers: Collection[str], groups: frozenset[str] | None) -> bool:
    """Return whether a member of `groups` is an approver; no approvers means everyone."""
    return groups is None or not approvers or not groups.isdisjoint(approvers)


def can_launch(person: Person, name: str) -> bool:
    """Return whether this person may launch the workflow."""
    return name in permissions_for(person).launch


def can_pause_workflow(person: Person, name: str) -> bool:
    """Return whether this person may pause the workflow: who may operate its runs."""
    return name in permissions_for(person).operate


def can_launch_any(person: Person) -> bool:
    """Return whether this person may launch any workflow."""
    launch = permissions_for(person).launch
    return any(name in launch for name in _installed())


def are_workflows_installed() -> bool:
    """Return whether any workflow is installed."""
    return bool(_installed())


# Everything else ------------------------------------------------------------------------


def can_view_workers(person: Person) -> bool:
    """Return whether this person may see workers and the queue."""
    return permissions_for(person).workers


def can_view_totals(person: Person) -> bool:
    """Return whether this person may see totals over all runs."""
    granted = permissions_for(person)
    return granted.workers and granted.view.are_all


def can_audit(person: Person) -> bool:
    """Return whether this person may see the audit log of all users."""
    return _has_any(person, "workflows.audit_run", "workflows.administer_run")


def can_administer(person: Person) -> bool:
    """Return whether this person may do everything with the runs of every workflow."""
    return _has_any(person, "workflows.administer_run")


def can_view_source(person: Person) -> bool:
    """Return whether this person may read the code of workflows: administrators."""
    return can_administer(person)


def is_superuser(person: Person) -> bool:
    """Return whether this is a superuser, without a token that limits it."""
    is_super = is_member(person) and cast("User", person).is_superuser
    return is_super and not is_limited(person)


def is_limited(person: Person) -> bool:
    """Return whether this is a request with a token that gives less than everything."""
    return bool(getattr(person, LIMITS_ATTRIBUTE, False))


def can_upload(person: Person) -> bool:
    """Return whether this person may upload documents: if they may launch any workflow."""
    if not is_member(person):
        return False
    return permissions_for(person).launch.is_any or _has_any(
        person, "workflows.add_document"
    )


def can_manage_agents(person: Person) -> bool:
    """Return whether this person may set up providers, agents, profiles and budgets."""
    return _has_any(person, "workflows.change_agent")


def can_manage_variables(person: Person) -> bool:
    """Return whether this person may define and delete variables and secrets."""
    return _has_any(person, "workflows.change_variable")


def can_view_variables(person: Person) -> bool:
    """Return whether this person may see variables, and which secrets there are."""
    return _has_any(person, "workflows.view_variable", "workflows.change_variable")


def can_manage_destinations(person: Person) -> bool:
    """Return whether this person may set up webhook destinations and replay deliveries."""
    return _has_any(person, "workflows.change_destination")


def can_view_destinations(person: Person) -> bool:
    """Return whether this person may see webhook destinations and their deliveries."""
    return _has_any(
        person, "workflows.view_destination", "workflows.change_destination"
    )


def can_give_roles(person: Person) -> bool:
    """Return whether this person may assign roles or grant permissions."""
    return _has_any(
        person,
        "auth.change_user",
        "auth.change_group",
        "workflows.change_workflowpermission",
    )


def can_view_members(person: Person) -> bool:
    """Return whether this person may see accounts, groups and their permissions."""
    return _has_any(person, "auth.view_user", "auth.change_user")


def can_manage_members(person: Person) -> bool:
    """Return whether this person may change accounts."""
    return _has_any(person, "auth.change_user")


def can_invite(person: Person) -> bool:
    """Return whether this person may add accounts, and so invite people."""
    return _has_any(person, "auth.add_user")


def _has_any(person: Person, *names: str) -> bool:
    """Return whether a person has one of these permissions of Django.

    A request with a limited API token has none of them: they concern more than runs.
    """
    if not is_member(person) or is_limited(person):
        return False
    user = cast("User", person)
    return any(user.has_perm(name) for name in names)


def require(allowed: bool, action: str) -> None:
    """Raise NotAllowed, with the action in the message, unless allowed."""
    if not allowed:
        raise NotAllowed(
            f"You don’t have permission to {action}. Ask an administrator for access."
        )
