"""Pages and actions that a person may open from the palette and the search page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.urls import reverse
from django.utils.http import urlencode

from workflows.access import permissions
from workflows.pages.catalog import entries
from workflows.pages.lists.live_lists import list_visible_runs, redacted_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from workflows.models import Run

MAX_SHOWN: Final = 16  # pages and actions
RECENT_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class Item:
    """A page or an action."""

    title: str
    address: str
    terms: str = ""  # further text that finds it


def _everyone(person: User) -> bool:
    return permissions.is_member(person)


def _is_staff(person: User) -> bool:
    return person.is_staff


PAGES: Final[tuple[tuple[str, str, str, Callable[[User], bool]], ...]] = (
    ("Home", "home", "overview start", _everyone),
    ("Workflows", "workflows", "graphs", _everyone),
    ("Runs", "runs", "list executions", _everyone),
    ("Decisions", "decisions", "edges conditions", _everyone),
    ("Schedules", "schedules", "cron timer", _everyone),
    ("Documents", "documents", "files upload pdf", _everyone),
    ("Agents", "agents", "models providers", _everyone),
    ("Budgets and usage", "budgets", "cost tokens prices", _everyone),
    ("Workers", "workers", "queue", permissions.can_view_workers),
    ("Members", "members", "people roles users", permissions.can_view_members),
    ("Saved views", "views", "filters", _everyone),
    ("Notifications", "notifications", "unread", _everyone),
    ("Notification settings", "notification-settings", "mail chat", _everyone),
    ("Alerts", "alerts", "rules", _everyone),
    ("Audit log", "audit", "activity history", permissions.can_audit),
    ("Incoming webhooks", "webhooks", "", _everyone),
    (
        "Webhook destinations",
        "destinations",
        "deliveries",
        permissions.can_view_destinations,
    ),
    ("API tokens", "tokens", "keys accounts", _everyone),
    ("API reference", "api-docs", "rest openapi", _everyone),
    ("Change password", "password", "account", _everyone),
    ("Administration", "admin:index", "django users groups", _is_staff),
)


def matching_items(person: User, text: str) -> list[Item]:
    """Return the pages and actions whose titles have all terms of a text."""
    terms = text.lower().split()
    found = [
        one
        for one in _items(person)
        if all(word in f"{one.title} {one.terms}".lower() for word in terms)
    ]
    # those whose title begins with the text come first
    found.sort(key=lambda one: not one.title.lower().startswith(text.lower().strip()))
    return found[:MAX_SHOWN]


def _items(person: User) -> Iterator[Item]:
    for one in entries(person):
        address = reverse("workflow", args=[one.name])
        if permissions.can_launch(person, one.name):
            yield Item(f"Launch {one.title}", address, f"{one.name} run workflow new")
        else:
            yield Item(one.title, address, f"{one.name} workflow")
    mine = urlencode({"who": person.get_username()})
    yield Item("My approvals", reverse("approvals"), "respond decide queue inbox")
    yield Item("My runs", f"{reverse('runs')}?{mine}", "launched by me")
    yield Item("Failed runs", f"{reverse('runs')}?status=failed", "errors")
    yield Item("Runs in progress", f"{reverse('runs')}?status=running", "active")
    for title, name, terms, may_open in PAGES:
        if may_open(person):
            yield Item(title, reverse(name), terms)


def recent_runs(person: User) -> list[Run]:
    """Return the newest runs that a person launched, else the newest that they may see."""
    runs = list_visible_runs(person)
    mine = list(runs.filter(launched_by=person)[:RECENT_RUNS])
    return redacted_for(person, mine or runs[:RECENT_RUNS])
