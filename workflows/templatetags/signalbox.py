"""Icons, times, durations, JSON and access checks for all templates."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from workflows.access import permissions
from workflows.access.permissions import permissions_for
from workflows.deliveries.following import unread_count
from workflows.pages import catalog
from workflows.pages.graph import diagram as drawing
from workflows.pages.graph import svg
from workflows.pages.lists.open_approvals import count_open
from workflows.pages.render import icons, json_tree, page_marks, text, zones
from workflows.pages.render.times import clock, time_element
from workflows.registry import registry
from workflows.services.approval_snoozes import snoozed_by

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models.options import Options

    from workflows.models import Run
    from workflows.pages.lists.period import Period

# buttons that are named otherwise than `Workflow(reasons_for=…)` names their action
ACTIONS = {"unpin": "pin", "pause": "pause workflow"}
register = template.Library()


@register.simple_tag
def icon(name: str, x: float | None = None, y: float | None = None) -> SafeString:
    """Return an icon as SVG; `x` and `y` place it within a drawing."""
    return icons.icon(name, x=x, y=y)


@register.simple_tag
def badge(status: str, label: str) -> SafeString:
    """Return a status badge: icon and label."""
    return format_html(
        '<span class="badge" data-status="{}">{} {}</span>',
        status,
        icons.icon(status),
        label,
    )


@register.filter
def readable_name(name: str) -> str:
    """Return a name from code as a label: `read_pages` → `Read pages`."""
    return text.readable_name(name)


@register.filter
def workflow_title(name: str) -> str:
    """Return the title of a workflow, or its name as a label if it is not installed."""
    return catalog.title_of(name)


@register.filter
def asks_reason(workflow: str | None, action: str) -> bool:
    """Return whether an action on a workflow or its runs needs a reason; so do all others."""
    return registry.asks_reason(workflow or "", ACTIONS.get(action, action))


@register.filter
def lower_label(name: str) -> str:
    """Return a name from code in lower case: `is_small` → `is small`."""
    return text.readable_name(name, capital=False)


@register.filter
def duration(length: dt.timedelta | float | None) -> str:
    """Return a duration, given in milliseconds or as a timedelta; "" for None."""
    if length is None:
        return ""
    if isinstance(length, dt.timedelta):
        return text.span(length.total_seconds())
    return text.span(length / 1000)


@register.filter
def number(count: int, most: int = 0) -> str:
    """Return a number with thousands separators; above `most` as `10,000+`."""
    return f"{most:,}+" if most and count > most else f"{count:,}"


@register.filter
def percent(share: float | None) -> str:
    """Return a share, 0..1, as a percentage, `—` for None."""
    return "—" if share is None else text.percent(share)


@register.filter
def bytesize(count: int) -> str:
    """Return a size in bytes with its unit: `4.2 MB`."""
    return text.size(count)


@register.filter
def money(amount: Decimal | None) -> str:
    """Return an amount in the currency of the installation, "" for None."""
    return "" if amount is None else text.money(amount, settings.CURRENCY)


@register.filter
def time_ago(value: dt.datetime | None) -> SafeString | str:
    """Return a relative time; the exact time is in its title."""
    if value is None:
        return ""
    return time_element(value, "ago", text.ago(value, timezone.now()))


@register.filter
def exact_time(value: dt.datetime | None) -> SafeString | str:
    """Return a time to the minute with its zone: `29 Mar 2026, 14:00 CEST`.

    For deadlines and timers, where the zone matters.
    """
    if value is None:
        return ""
    return time_element(value, "exact", zones.date_time(value))


@register.filter
def zoned_time(value: dt.datetime) -> SafeString:
    """Return a time in its own zone: `Mon 30 Mar 2026, 14:00 CEST`; scripts keep it.

    The reader's time is in its title.
    """
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        zones.date_time(value),
        zones.date_time_in_own_zone(value),
    )


@register.simple_tag
def current_zone() -> str:
    """Return the name of the current time zone."""
    return zones.current_zone()


register.filter(clock)


@register.filter
def running_since(value: dt.datetime | None) -> SafeString | str:
    """Return the elapsed time since a time; scripts keep it current."""
    if value is None:
        return ""
    seconds = (timezone.now() - value).total_seconds()
    return format_html(
        '<time datetime="{}" data-since>{}</time>',
        value.isoformat(timespec="milliseconds"),
        text.span(max(seconds, 0)),
    )


@register.filter
def until(value: dt.datetime) -> SafeString:
    """Return the time left until a time; scripts count it down."""
    left = max((value - timezone.now()).total_seconds(), 0)
    return time_element(value, "until", f"in {text.span(left)}")


@register.filter
def json(value: object, links: json_tree.Links | None = None) -> SafeString:
    """Return a JSON value as collapsible lists."""
    return json_tree.tree(value, links)


@register.filter
def pages_linked(value: str, run: Run) -> SafeString:
    """Return a text in which page references link to the document of the run."""
    return page_marks.link_pages(value, run)


@register.simple_tag
def draw(graph: Mapping[str, object]) -> drawing.Diagram:
    """Return the diagram of a graph without a run."""
    return drawing.draw(graph)


@register.simple_tag
def graph_items(diagram: drawing.Diagram, still: bool = False) -> SafeString:
    """Return the nodes and edges of a diagram as SVG; `still` omits links."""
    items = svg.items_of(diagram, still=bool(still))
    return mark_safe("".join(html for _, html in items))  # noqa: S308 - drawn by us


@register.simple_tag(takes_context=True)
def readers_zone(context: template.Context, period: Period) -> dict[str, str]:
    """Return the zone of the day filters: that of the query, else the reader's."""
    has_days = period.first or period.last
    value = period.zone if has_days else zones.zone_in(context["request"].COOKIES)
    return {"value": value, "name": str(zones.zone_named(value))}


@register.simple_tag
def open_approvals(user: User) -> int:
    """Return the number of open approvals that a user can answer."""
    return count_open(permissions_for(user), user.pk, snoozed_by(user))


@register.simple_tag
def unread_notifications(user: User) -> int:
    """Return the number of unread notifications of a user, up to a limit."""
    return unread_count(user)


@register.filter
def can_view_workers(user: User) -> bool:
    """Return whether a user can open the workers page."""
    return permissions.can_view_workers(user)


@register.filter
def last_digits(run_id: UUID) -> str:
    """Return the short ID of a run: its last eight hex digits."""
    return run_id.hex[-8:]


@register.filter
def payload_deleted(run: Run) -> SafeString | str:
    """Return the text in place of values that retention deleted; "" if it did not."""
    if run.payload_removed_at is None:
        return ""
    here = zones.local(run.payload_removed_at)
    day = time_element(here, "day", f"{here.day} {here:%B} {here.year:04}")
    return format_html("Deleted by retention on {}.", day)


@register.simple_tag
def workflows_installed() -> bool:
    """Return whether any workflow is installed."""
    return permissions.are_workflows_installed()


@register.filter
def sees_open_access_warning(user: User) -> bool:
    """Return whether a user manages roles while roles are not enforced."""
    return permissions.are_open() and permissions.can_give_roles(user)


@register.filter
def grants_permissions(opts: Options[Any] | str) -> bool:
    """Return whether an admin page manages permissions; True for the index."""
    if not opts:
        return True
    label, name = getattr(opts, "app_label", ""), getattr(opts, "model_name", "")
    return label == "auth" or name == "workflowpermission"


@register.filter
def can_view_members(user: User) -> bool:
    """Return whether a user may see accounts, groups and their permissions."""
    return permissions.can_view_members(user)


@register.filter
def can_invite(user: User) -> bool:
    """Return whether a user may invite people."""
    return permissions.can_invite(user)


@register.filter
def can_manage_agents(user: User) -> bool:
    """Return whether a user may set up providers and agents."""
    return permissions.can_manage_agents(user)


@register.filter
def can_view_destinations(user: User) -> bool:
    """Return whether a user may see webhook destinations."""
    return permissions.can_view_destinations(user)


@register.filter
def can_audit(user: User) -> bool:
    """Return whether a user can open the audit log."""
    return permissions.can_audit(user)


@register.filter
def px(value: float) -> str:
    """Return an SVG length with a decimal point, independent of the locale."""
    return f"{value:g}"
