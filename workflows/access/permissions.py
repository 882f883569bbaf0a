"""Who may see, launch, operate, approve and read: the one place that everybody asks.

Rights are given by workflow, to groups, or by a role: docs/rights.md has the rules and a
table of all that follows from them. What a person may do is read once a request, as
sets of workflow names, so that lists filter by them. `System` asks here before each
deed; pages, sockets and admin read rows of many runs through `visible`.
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
    Decision,
    Document,
    DocumentUse,
    Run,
    RunTally,
    WorkflowPermission,
)
from workflows.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

    Person = AbstractBaseUser | AnonymousUser

Rows = TypeVar("Rows", bound=QuerySet[Any])
KEPT = (
    "_signalbox_sight"  # what was found is kept on the person, as Django keeps theirs
)
OPEN = "open"
EVER_RAN_CACHE_SECONDS = (
    60  # for which it is taken as known which workflows have ever run
)


# Sets of workflows ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkflowSet:
    """Some workflows: these, or all but these."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, name: str) -> bool:
        """Tell whether a workflow is among them."""
        return (name in self.names) != self.all_but

    def __and__(self, other: WorkflowSet) -> WorkflowSet:
        """Return those that are among both."""
        if self.all_but and other.all_but:
            return WorkflowSet(self.names | other.names, all_but=True)
        if self.all_but:
            return WorkflowSet(other.names - self.names)
        kept = (name for name in self.names if name in other)
        return WorkflowSet(frozenset(kept))

    @property
    def are_all(self) -> bool:
        """Tell whether none is left out."""
        return self.all_but and not self.names

    @property
    def is_any(self) -> bool:
        """Tell whether there can be one."""
        return self.all_but or bool(self.names)

    def q(self, field: str = "workflow_name") -> Q:
        """Return the condition that a row is of one of them."""
        among = Q(**{f"{field}__in": sorted(self.names)})
        return ~among if self.all_but else among


ALL, NONE = WorkflowSet(all_but=True), WorkflowSet()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a person may do: equal for all to whom the same pages are shown."""

    see: WorkflowSet = NONE
    launch: WorkflowSet = NONE
    operate: WorkflowSet = NONE
    approve: WorkflowSet = NONE
    read: WorkflowSet = NONE  # params, results, states, reasons, errors, logs
    groups: frozenset[str] | None = frozenset()  # theirs by name; None: as if in each
    documents: bool = False  # those that no run was given
    workers: bool = False  # who does the work, and the queue

    def may_note(self, name: str) -> bool:
        """Tell whether they may write notes: whoever may do more than look."""
        return any(name in one for one in (self.launch, self.operate, self.approve))


NOTHING = Permissions()
EVERYTHING = Permissions(ALL, ALL, ALL, ALL, ALL, None, documents=True, workers=True)


def are_open() -> bool:
    """Tell whether roles restrict nobody: workflows without rows are open to all."""
    return bool(settings.DEFAULT_ACCESS == OPEN)


# Finding out ----------------------------------------------------------------------------


def is_member(person: Person) -> bool:
    """Tell whether this is a signed-in person whose account is active."""
    return bool(person.is_authenticated and person.is_active)


def permissions_for(person: Person) -> Permissions:
    """Return what a person may do; it is looked up once for each request."""
    if not is_member(person):
        return NOTHING
    known: Permissions | None = getattr(person, KEPT, None)
    if known is None:
        known = _permissions(cast("User", person))
        setattr(person, KEPT, known)
    return known


def _permissions(person: User) -> Permissions:
    if person.is_superuser:
        return EVERYTHING
    rules = _Rules(person)
    see = rules.to("see", role="view_run")
    return Permissions(
        see=see,
        launch=see & rules.to("launch", role="launch_run"),
        operate=see & rules.to("operate", role="operate_run"),
        approve=see & rules.to("approve", role="approve_run"),
        read=see & rules.to_read,
        groups=frozenset(rules.groups.values()),
        documents=rules.is_open or person.has_perm("workflows.view_document"),
        workers=person.has_perm("workflows.view_worker"),
    )


class _Rules:
    """What rows and roles say of one person."""

    def __init__(self, person: User) -> None:
        """Read the rows, and the person's groups."""
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
        """Return the workflows with which the person may do this.

        1. Whoever administers all, or has to see all as an auditor: every one.
        2. Of a workflow that rows speak of: what they give.
        3. Of any other: all where rights are open by default, else by the role.
        """
        if self._has("administer_run") or (verb == "see" and self._has("audit_run")):
            return ALL
        given = _named(self._mine, f"may_{verb}")
        if not (self.is_open or self._has(role)):
            return WorkflowSet(given)
        return WorkflowSet(_restricted(self._rows) - given, all_but=True)

    @property
    def to_read(self) -> WorkflowSet:
        """The workflows whose values are not kept for others."""
        kept, mine = (_named(rows, "may_read") for rows in (self._rows, self._mine))
        return WorkflowSet(kept - mine, all_but=True)

    def _has(self, permission: str) -> bool:
        return self._person.has_perm(f"workflows.{permission}")


def _named(rows: Iterable[WorkflowPermission], tick: str) -> frozenset[str]:
    return frozenset(row.workflow_name for row in rows if getattr(row, tick))


def _restricted(rows: Iterable[WorkflowPermission]) -> frozenset[str]:
    """Return the workflows that are for those who are named, and nobody else."""
    return frozenset(row.workflow_name for row in rows if row.restricts)


def reload_user(person: User, session: SessionBase | None) -> User | None:
    """Return a person who came in earlier as they are now: rights may have changed.

    None once the session has ended, in whichever way: signed out, expired, deleted, taken
    over by another account; or once the account was closed or its password changed.
    """
    same = User.objects.filter(pk=person.pk, is_active=True, password=person.password)
    found = same.first()
    if found is None or session is None:
        return found
    # A store of our own: the one of an open socket holds what it read when it connected,
    # and `exists` counts a session whose time is over.
    store = import_module(settings.SESSION_ENGINE).SessionStore
    stored = store(session.session_key)
    return found if stored.get(SESSION_KEY) == str(found.pk) else None


# Rows -----------------------------------------------------------------------------------


def visible(
    person: Person, rows: Rows, field: str = "workflow_name", *, read: bool = False
) -> Rows:
    """Return those rows that a person may see: of runs, decisions, tallies, questions.

    Every page that reads rows of many runs reads them through here. `field` leads to
    the name of their workflow; with `read`, only those whose values are open to them.
    """
    sight = permissions_for(person)
    names = sight.read if read else sight.see
    if names.are_all:
        return rows
    if names.all_but:  # an index answers which it is, and not which it is not
        names = WorkflowSet(known_names() - names.names)
    return rows.filter(names.q(field))


def visible_runs(person: Person, *, read: bool = False) -> QuerySet[Run]:
    """Return the runs that a person may see; pages query runs through this only."""
    return visible(person, Run.objects.all(), read=read)


def visible_decisions(person: Person, *, read: bool = False) -> QuerySet[Decision]:
    """Return the decisions that a person may see; pages query them through this only."""
    return visible(person, Decision.objects.all(), read=read)


def known_names() -> frozenset[str]:
    """Return the workflows that are installed, or have ever run.

    Those that ran are looked up now and then: only an installed one begins to.
    """
    now = time.monotonic()
    if now >= _ever_ran.until:
        _ever_ran.names = _names_that_ran()
        _ever_ran.until = now + EVER_RAN_CACHE_SECONDS
    return _ever_ran.names | _installed()


def names_now() -> frozenset[str]:
    """Return the workflows that are installed, or have ever run, looked up just now."""
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

    Their own; those given to runs whose values they may read; and those that no run was
    given, if they may see documents at all.
    """
    mine = Q(uploaded_by=person.pk) | Q(
        Exists(
            Document.holders.through.objects.filter(
                document=OuterRef("pk"), user=person.pk
            )
        )
    )
    return documents_for(permissions_for(person), mine)


def documents_for(sight: Permissions, also: Q | None = None) -> QuerySet[Document]:
    """Return the documents that anyone with these rights may see, and some beside."""
    rows = Document.objects.all()
    if sight.read.are_all and sight.documents:
        return rows
    uses = DocumentUse.objects.filter(document=OuterRef("pk"))
    seen = Q(Exists(uses.filter(sight.read.q())))
    if sight.documents:
        seen |= ~Q(Exists(uses))
    return rows.filter(seen if also is None else seen | also)


# One run, one workflow ------------------------------------------------------------------


def may_see(person: Person, name: str) -> bool:
    """Tell whether a person may see the runs of a workflow."""
    return name in permissions_for(person).see


def may_read(person: Person, name: str) -> bool:
    """Tell whether a person may see what the runs of a workflow are about."""
    return name in permissions_for(person).read


def may_view_run(person: Person, run: Run) -> bool:
    """Tell whether this person may see the run."""
    return may_see(person, run.workflow_name)


def may_operate_run(person: Person, run: Run) -> bool:
    """Tell whether this person may cancel, resume, label or delete the run."""
    return run.workflow_name in permissions_for(person).operate


def may_note_run(person: Person, run: Run) -> bool:
    """Tell whether this person may write notes about the run."""
    return permissions_for(person).may_note(run.workflow_name)


def may_approve_run(person: Person, run: Run) -> bool:
    """Tell whether this person may answer questions of the run: as it may be shown them."""
    sight = permissions_for(person)
    return run.workflow_name in sight.approve and run.workflow_name in sight.read


def may_launch(person: Person, name: str) -> bool:
    """Tell whether this person may start runs of the workflow."""
    return name in permissions_for(person).launch


def may_launch_any(person: Person) -> bool:
    """Tell whether there is a workflow that this person may launch."""
    launch = permissions_for(person).launch
    return any(name in launch for name in _installed())


def are_workflows_installed() -> bool:
    """Tell whether there is any workflow to be given access to."""
    return bool(_installed())


# Everything else ------------------------------------------------------------------------


def may_see_workers(person: Person) -> bool:
    """Tell whether this person may see who does the work, and the queue."""
    return permissions_for(person).workers


def may_see_totals(person: Person) -> bool:
    """Tell whether this person may see what is counted over all runs."""
    sight = permissions_for(person)
    return sight.workers and sight.see.are_all


def may_audit(person: Person) -> bool:
    """Tell whether this person may see what everybody did, and to what."""
    if not is_member(person):
        return False
    user = cast("User", person)
    return user.has_perm("workflows.audit_run") or user.has_perm(
        "workflows.administer_run"
    )


def may_upload(person: Person) -> bool:
    """Tell whether this person may add documents: whoever may launch anything."""
    if not is_member(person):
        return False
    sight = permissions_for(person)
    if sight.launch.is_any:
        return True
    return cast("User", person).has_perm("workflows.add_document")


def may_manage_agents(person: Person) -> bool:
    """Tell whether this person may set up providers, agents, profiles and budgets."""
    return is_member(person) and cast("User", person).has_perm("workflows.change_agent")


def may_give_roles(person: Person) -> bool:
    """Tell whether this person may put accounts into roles, or give rights."""
    if not is_member(person):
        return False
    user = cast("User", person)
    given = (
        "auth.change_user",
        "auth.change_group",
        "workflows.change_workflowpermission",
    )
    return any(user.has_perm(permission) for permission in given)


def require(allowed: bool, deed: str) -> None:
    """Return if it is allowed. Raises NotAllowed."""
    if not allowed:
        raise NotAllowed(f"You may not {deed}. Ask an administrator for the right.")
