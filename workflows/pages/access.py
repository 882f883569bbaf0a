"""Who may see, launch, operate and answer: the one place that pages and sockets ask.

Any signed-in member may do all of it; a question may be for some groups only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db.models import QuerySet

from workflows.errors import NotAllowed
from workflows.pages.inbox import groups_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

    from workflows.models import Run
    from workflows.registry import Known

    Person = AbstractBaseUser | AnonymousUser

View = Callable[..., Any]
Rows = TypeVar("Rows", bound=QuerySet[Any])


def members_only(view: View) -> View:
    """Send whoever is not signed in to the sign-in page, and back afterwards."""
    return login_required(view)


def is_member(person: Person) -> bool:
    """Tell whether this is a signed-in person whose account is active."""
    return bool(person.is_authenticated and person.is_active)


def is_still_member(person: User, session: SessionBase | None) -> bool:
    """Tell whether a person who came in earlier is still signed in and active."""
    if session is not None and not session.exists(session.session_key or ""):
        return False
    same = User.objects.filter(pk=person.pk, is_active=True)
    return same.filter(password=person.password).exists()


def may_view_run(person: Person, run: Run) -> bool:  # noqa: ARG001 - asked for each run
    """Tell whether this person may see the run."""
    return is_member(person)


def those_seen(person: Person, rows: Rows) -> Rows:  # noqa: ARG001
    """Return those rows that this person may see: of runs, decisions or tallies.

    Every page that reads rows of many runs reads them through here. All of them have a
    `workflow_name`, by which rights are given.
    """
    return rows


def may_see_workers(person: Person) -> bool:
    """Tell whether this person may see who does the work, and the queue."""
    return is_member(person) and bool(getattr(person, "is_staff", False))


def may_operate_run(person: Person, run: Run) -> bool:  # noqa: ARG001
    """Tell whether this person may cancel, resume or delete the run."""
    return is_member(person)


def may_note_run(person: Person, run: Run) -> bool:
    """Tell whether this person may write notes about the run."""
    return may_view_run(person, run)


def may_launch(person: Person, workflow: Known) -> bool:  # noqa: ARG001
    """Tell whether this person may start runs of the workflow."""
    return is_member(person)


def may_use_documents(person: Person) -> bool:
    """Tell whether this person may see documents and add some."""
    return is_member(person)


def may_manage_agents(person: Person) -> bool:
    """Tell whether this person may set up providers, agents, profiles and budgets."""
    return is_member(person) and cast("User", person).has_perm("workflows.change_agent")


def require(allowed: bool, deed: str) -> None:
    """Return if it is allowed. Raises NotAllowed."""
    if not allowed:
        raise NotAllowed(f"You may not {deed}. Ask an administrator for the right.")


@dataclass(frozen=True, slots=True)
class Rights:
    """What the viewer of a run may do: pages of the same rights are drawn once."""

    operate: bool = False
    note: bool = False
    trace: bool = False  # may read where in the code it failed
    workers: bool = False  # may see the workers and the queue
    groups: frozenset[str] | None = frozenset()  # the viewer's; None answers everything


def rights(person: Person, run: Run) -> Rights:
    """Return what a person may do with a run."""
    return Rights(
        operate=may_operate_run(person, run),
        note=may_note_run(person, run),
        trace=bool(getattr(person, "is_staff", False)),
        workers=may_see_workers(person),
        groups=groups_of(person),
    )
