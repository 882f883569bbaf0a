"""What the search box finds: runs, documents, people, pages and actions.

Each kind is limited to what the person may see, and to a bounded number of rows: texts are
searched in the newest ones (`lists/pagination.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q

from workflows.access import permissions
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.lists.pagination import Page, keyset_page
from workflows.pages.lists.run_expression import HAS_OPERATOR
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.query_string import uuid_in
from workflows.pages.search.palette import Item, matching_items
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.models import Document, Run

MAX_RUNS, MAX_DOCUMENTS, MAX_PEOPLE = 10, 6, 6


@dataclass(slots=True)
class Results:
    """What was found, by kind."""

    text: str = ""
    runs: Page[Run] = field(default_factory=Page)
    documents: list[Document] = field(default_factory=list)
    people: list[User] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    refusal: str = ""  # why runs can't be searched

    @property
    def is_any(self) -> bool:
        """Return whether anything was found."""
        return bool(self.runs.rows or self.documents or self.people or self.items)


def is_expression(text: str) -> bool:
    """Return whether a text compares fields of runs."""
    return HAS_OPERATOR.search(text) is not None


def run_with_id(person: User, text: str) -> UUID | None:
    """Return the id of the run that a text is, if the person may see it."""
    run_id = uuid_in(text)
    if run_id is None or not visible_runs(person).filter(pk=run_id).exists():
        return None
    return run_id


def search(person: User, text: str) -> Results:
    """Return what a text finds for a person."""
    found = Results(text, items=matching_items(person, text))
    if not text:
        return found
    filters = RunFilters.read({"q": f'"{text}"' if is_expression(text) else text})
    found.refusal = filters.refusal(person)
    found.runs = keyset_page(
        filters.by_index(person),
        filters.by_value(),
        size=MAX_RUNS,
        limit=filters.scan_limit,
    )
    found.runs.rows = redacted_for(person, found.runs.rows)
    found.documents = _documents(person, text)
    found.people = _people(person, text)
    return found


def _documents(person: User, text: str) -> list[Document]:
    rows = permissions.visible_documents(person)
    page: Page[Any] = keyset_page(rows, Q(name__icontains=text), size=MAX_DOCUMENTS)
    return page.rows


def _people(person: User, text: str) -> list[User]:
    """Return the users with a text in their names who launched a run that is visible."""
    runs = visible_runs(person).filter(launched_by=OuterRef("pk"))
    named = (
        Q(username__icontains=text)
        | Q(first_name__icontains=text)
        | Q(last_name__icontains=text)
    )
    users = User.objects.filter(named).filter(Exists(runs)).order_by("username")
    return list(users[:MAX_PEOPLE])
