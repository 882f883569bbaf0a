"""Icons, times, lengths and JSON, as every page shows them."""

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
from workflows.pages import catalog
from workflows.pages.graph import diagram as drawing
from workflows.pages.graph import svg
from workflows.pages.lists.inbox import count_open
from workflows.pages.render import icons, json_tree, page_marks, zones
from workflows.pages.render import text as words
from workflows.pages.render.times import clock, time_element

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models.options import Options

    from workflows.models import Run
    from workflows.pages.lists.period import Period

register = template.Library()


@register.simple_tag
def icon(name: str, x: float | None = None, y: float | None = None) -> SafeString:
    """Return an icon."""
    return icons.icon(name, x=x, y=y)


@register.simple_tag
def badge(status: str, label: str) -> SafeString:
    """Return a status: its shape and its word."""
    return format_html(
        '<span class="badge" data-status="{}">{} {}</span>',
        status,
        icons.icon(status),
        label,
    )


@register.filter
def in_words(name: str) -> str:
    """Return a name from code as words, with a capital."""
    return words.in_words(name)


@register.filter
def workflow_title(name: str) -> str:
    """Return the title of a workflow; its name in words when it is not installed."""
    return catalog.title_of(name)


@register.filter
def lower_label(name: str) -> str:
    """Return a name from code as words, as it stands within a sentence."""
    return words.in_words(name, capital=False)


@register.filter
def span(length: dt.timedelta | float | None) -> str:
    """Return a length of time, given in milliseconds or as a timedelta."""
    if length is None:
        return ""
    if isinstance(length, dt.timedelta):
        return words.span(length.total_seconds())
    return words.span(length / 1000)


@register.filter
def number(count: int, most: int = 0) -> str:
    """Return a number for people: `12,345`; one above `most` as `10,000+`."""
    return f"{most:,}+" if most and count > most else f"{count:,}"


@register.filter
def percent(share: float | None) -> str:
    """Return a share, 0..1, as a percentage."""
    return "–" if share is None else words.percent(share)


@register.filter
def bytesize(count: int) -> str:
    """Return a number of bytes for people."""
    return words.size(count)


@register.filter
def money(amount: Decimal | None) -> str:
    """Return a sum in the currency of this installation, nothing for None."""
    return "" if amount is None else words.money(amount, settings.CURRENCY)


@register.filter
def moment(value: dt.datetime | None) -> SafeString | str:
    """Return a moment: how long ago, and exactly on hover."""
    if value is None:
        return ""
    return time_element(value, "ago", words.ago(value, timezone.now()))


@register.filter
def exact_moment(value: dt.datetime | None) -> SafeString | str:
    """Return a moment to the minute, with the short name of its zone: `29 Mar 2026, 14:00 CEST`.

    For deadlines and timers, where the zone matters.
    """
    if value is None:
        return ""
    return time_element(value, "exact", zones.exactly(value))


@register.simple_tag
def current_zone() -> str:
    """Return the name of the zone in which moments are shown and read."""
    return zones.current_zone()


register.filter(clock)


@register.filter
def running_since(value: dt.datetime | None) -> SafeString | str:
    """Return the time since a moment; it goes on counting where scripts run."""
    if value is None:
        return ""
    seconds = (timezone.now() - value).total_seconds()
    return format_html(
        '<time datetime="{}" data-since>{}</time>',
        value.isoformat(timespec="milliseconds"),
        words.span(max(seconds, 0)),
    )


@register.filter
def until(value: dt.datetime) -> SafeString:
    """Return the time left until a moment; it counts down where scripts run."""
    left = max((value - timezone.now()).total_seconds(), 0)
    return time_element(value, "until", f"in {words.span(left)}")


@register.filter
def json(value: object, links: json_tree.Links | None = None) -> SafeString:
    """Return a JSON value as folding lists."""
    return json_tree.tree(value, links)


@register.filter
def pages_linked(text: str, run: Run) -> SafeString:
    """Return a text whose pages lead to the run's document."""
    return page_marks.link_pages(text, run)


@register.simple_tag
def draw(graph: Mapping[str, object]) -> drawing.Diagram:
    """Return the drawing of a graph that has not run."""
    return drawing.draw(graph)


@register.simple_tag
def graph_items(diagram: drawing.Diagram, still: bool = False) -> SafeString:
    """Return the steps and links of a drawn graph as SVG."""
    items = svg.items_of(diagram, still=bool(still))
    return mark_safe("".join(html for _, html in items))  # noqa: S308 - drawn by us


@register.simple_tag(takes_context=True)
def readers_zone(context: template.Context, period: Period) -> dict[str, str]:
    """Return the zone in which days are meant: that of the address, else the reader's."""
    has_days = period.first or period.last
    value = period.zone if has_days else zones.zone_in(context["request"].COOKIES)
    return {"value": value, "name": str(zones.zone_named(value))}


@register.simple_tag
def open_approvals(user: User) -> int:
    """Return how many questions wait for this person."""
    return count_open(permissions_for(user))


@register.filter
def may_see_workers(user: User) -> bool:
    """Tell whether the page of workers is there for this person."""
    return permissions.may_see_workers(user)


@register.filter
def last_digits(run_id: UUID) -> str:
    """Return the end of a run's id, which tells runs apart."""
    return run_id.hex[-8:]


@register.filter
def payload_gone(run: Run) -> SafeString | str:
    """Return what stands where values of a run were that retention let go."""
    if run.payload_removed_at is None:
        return ""
    here = zones.local(run.payload_removed_at)
    day = time_element(here, "day", f"{here.day} {here:%B} {here.year:04}")
    return format_html("Removed on {} by retention.", day)


@register.simple_tag
def workflows_installed() -> bool:
    """Return whether there is any workflow."""
    return permissions.are_workflows_installed()


@register.filter
def is_told_of_open_permissions(user: User) -> bool:
    """Tell whether this person gives roles that restrict nobody."""
    return permissions.are_open() and permissions.may_give_roles(user)


@register.filter
def gives_permissions(opts: Options[Any] | str) -> bool:
    """Tell whether an admin page is one where roles or rights are given; or the index."""
    if not opts:
        return True
    label, name = getattr(opts, "app_label", ""), getattr(opts, "model_name", "")
    return label == "auth" or name == "workflowpermission"


@register.filter
def may_audit(user: User) -> bool:
    """Tell whether the page of what people did is there for this person."""
    return permissions.may_audit(user)


@register.filter
def per(ms: float, whole: float) -> str:
    """Return a part of a whole in percent, as SVG wants it."""
    return f"{100 * ms / whole:.2f}"


@register.filter
def px(value: float) -> str:
    """Return a length in a drawing, whatever the language's decimal sign."""
    return f"{value:g}"
