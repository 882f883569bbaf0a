"""The field of a moment: a local date and time, and the zone in which it is read.

The form names its zone and sends it along, so that a moment is read in the zone that its
reader was shown, whatever their cookie has become meanwhile. A moment that was there
before is sent along as well: an untouched field gives it back, to the microsecond, also
where its local time comes twice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.pages.render.zones import (
    current_zone,
    in_zone,
    is_zone,
    local,
    zone_named,
)
from workflows.pages.render.zones import zone_of as short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_ZONE, EXACT, OFFSET = ":zone", ":exact", ":offset"  # suffixes of its other inputs
OUT_OF_RANGE = "Enter a moment between the years 1 and 9999 in UTC."
TWICE = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What a form says of a moment: as shown to a reader, or as sent by one."""

    text: str = ""  # local date and time
    zone: str = ""  # in which the text is read; "" is the server's
    exact: str = ""  # the moment the field was filled with, in ISO form
    offset: str = ""  # `+02:00`: which of two equal local times is meant

    @classmethod
    def of(cls, value: Any) -> Asked:
        """Return how a stored moment, or what was sent, is shown."""
        if isinstance(value, Asked):
            return value
        moment = _parsed(value) if isinstance(value, str) else value
        if not isinstance(moment, dt.datetime):
            return cls(str(value or ""), current_zone())
        if timezone.is_naive(moment):
            return cls(_text(moment), current_zone(), moment.isoformat())
        here = local(moment)
        name, offset = str(here.tzinfo), here.isoformat()[-6:]
        return cls(_text(here), name, moment.isoformat(), offset)

    @property
    def tzinfo(self) -> dt.tzinfo:
        """Return the zone in which the text is read."""
        return zone_named(self.zone if is_zone(self.zone) else "")

    @property
    def choices(self) -> list[dt.datetime]:
        """Return the moments that a local time in the doubled hour may mean, else none."""
        wall = _parsed(self.text)
        if wall is None or timezone.is_aware(wall):
            return []
        found = readings(wall, self.tzinfo)
        return found if len(found) == TWICE else []


class MomentInput(forms.DateTimeInput):
    """A date and time, its zone, and a choice where that local time comes twice."""

    input_type = "datetime-local"

    def render(
        self,
        name: str,
        value: Any,
        attrs: Mapping[str, Any] | None = None,
        renderer: Any = None,
    ) -> SafeString:
        """Return the inputs, and the name of the zone."""
        asked = Asked.of(value)
        given = dict(attrs or {})
        zone_id = f"{given.get('id', name)}_zone"
        described = f"{given.get('aria-describedby', '')} {zone_id}".strip()
        given["aria-describedby"] = described
        return format_html(
            '{box}<input type="hidden" name="{name}{in_zone}" value="{zone}">'
            '<input type="hidden" name="{name}{is_exactly}" value="{exact}">'
            '{choice}<p class="help" id="{zone_id}">Time zone: {zone}</p>',
            box=super().render(name, asked.text, given, renderer),
            name=name,
            in_zone=IN_ZONE,
            is_exactly=EXACT,
            zone=asked.zone or asked.tzinfo,
            exact=asked.exact,
            zone_id=zone_id,
            choice=_choice(name, asked),
        )

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Any, name: str
    ) -> Asked | None:
        """Return what was sent; None if nothing was."""
        text = super().value_from_datadict(data, files, name)
        if text is None:
            return None
        zone = data.get(name + IN_ZONE, "")
        return Asked(
            str(text).strip(),
            zone if is_zone(zone) else current_zone(),
            data.get(name + EXACT, ""),
            data.get(name + OFFSET, ""),
        )


class UtcDateTimeField(forms.DateTimeField):
    """A date and time. Cleaned: ISO text, None where none was given.

    The text is in UTC, but for a moment that was there before and was not changed: that one
    keeps its offset, or its lack of one.
    """

    widget = MomentInput(attrs={"step": "1"})

    def prepare_value(self, value: Any) -> Any:
        """Return it as it is: the widget knows how to show it."""
        return value

    def clean(self, value: Any) -> str | None:
        """Return the moment as ISO text. Raises ValidationError with a sentence."""
        asked = value if isinstance(value, Asked) else Asked(str(value or "").strip())
        asked = asked if asked.zone else Asked(asked.text, current_zone())
        self.validate(asked.text)
        return self._read(asked) if asked.text else None

    def _read(self, asked: Asked) -> str:
        wall = self._as_typed(asked.text)
        if timezone.is_naive(wall):
            return _meant(asked, wall).isoformat()
        try:
            return wall.astimezone(dt.UTC).isoformat()
        except OverflowError as error:
            raise ValidationError(OUT_OF_RANGE) from error

    def _as_typed(self, text: str) -> dt.datetime:
        """Return what was typed: aware only if it names an offset."""
        if (found := _parsed(text)) is not None:
            return found
        with timezone.override(dt.UTC):  # which takes every local time as it is
            read = self.to_python(text)
        if read is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return read.replace(tzinfo=None)


def readings(wall: dt.datetime, zone: dt.tzinfo) -> list[dt.datetime]:
    """Return the moments at which clocks of a zone show this: none, one or two.

    In UTC, the earlier first. Raises OverflowError beyond the years 1 to 9999.
    """
    found = []
    for fold in (0, 1):
        moment = wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)
        shown = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        if shown == wall.replace(fold=0) and moment not in found:
            found.append(moment)
    return found


def _meant(asked: Asked, wall: dt.datetime) -> dt.datetime:
    """Return the moment of a local time. Raises ValidationError with a sentence."""
    if _is_untouched_naive(asked, wall):
        return dt.datetime.fromisoformat(asked.exact)
    try:
        found = readings(wall, asked.tzinfo)
    except OverflowError:
        found = []
    if len(found) == TWICE and asked.offset:
        for moment in found:
            if _offset(moment, asked.tzinfo) == asked.offset:
                # the part of a second that the page does not show is kept
                return _as_it_was(asked, wall, moment) or moment
    if (was := _as_it_was(asked, wall)) is not None:
        return was
    if len(found) == 1:
        return found[0]
    raise ValidationError(_why_not(found, wall, asked.tzinfo))


def _is_untouched_naive(asked: Asked, wall: dt.datetime) -> bool:
    """Tell whether the field still shows the moment without a zone that it was filled with."""
    was = _parsed(asked.exact)
    return (
        was is not None
        and timezone.is_naive(was)
        and was.replace(microsecond=0, fold=0) == wall
    )


def _as_it_was(
    asked: Asked, wall: dt.datetime, near: dt.datetime | None = None
) -> dt.datetime | None:
    """Return the moment that the field was filled with, if that is still what it says."""
    was = _parsed(asked.exact)
    if was is None or timezone.is_naive(was):
        return None
    if near is not None and abs(was - near) >= dt.timedelta(seconds=1):
        return None
    shown = in_zone(asked.zone if is_zone(asked.zone) else "", local, was)
    return was if shown.replace(tzinfo=None, microsecond=0, fold=0) == wall else None


def _why_not(found: list[dt.datetime], wall: dt.datetime, zone: dt.tzinfo) -> str:
    here = f"{wall:%H:%M} on {wall.day} {wall:%B} {wall.year:04}"
    if found:
        offsets = " or ".join(_offset(moment, zone) for moment in found)
        return (
            f"{here} comes twice in {zone}, where clocks go back then. Choose which of"
            f" the two is meant, or add its offset, {offsets}."
        )
    try:
        wall.replace(tzinfo=zone).astimezone(dt.UTC)
    except OverflowError:
        return OUT_OF_RANGE
    return (
        f"{here} does not exist in {zone}, where clocks go forward then. Enter an earlier"
        " or a later time."
    )


def _choice(name: str, asked: Asked) -> SafeString | str:
    """Return a choice between two equal local times; nothing where there is one."""
    try:
        choices = asked.choices
    except OverflowError:
        return ""
    if not choices:
        return ""
    zone = asked.tzinfo
    offsets = [_offset(moment, zone) for moment in choices]
    names = [short_name(moment.astimezone(zone)) for moment in choices]
    rows = [
        (offset, " selected" if offset == asked.offset else "", said)
        for offset, said in (
            *([("", "Choose which")] if asked.offset not in offsets else []),
            (offsets[0], f"The first, {names[0]}"),
            (offsets[1], f"The second, {names[1]}"),
        )
    ]
    return format_html(
        '<label class="datetime-offset">This time comes twice'
        ' <select name="{}{}">{}</select></label>',
        name,
        OFFSET,
        format_html_join("", '<option value="{}"{}>{}</option>', rows),
    )


def _offset(moment: dt.datetime, zone: dt.tzinfo) -> str:
    return moment.astimezone(zone).isoformat()[-6:]


def _parsed(text: str) -> dt.datetime | None:
    """Return a date and time in ISO form, None for anything else."""
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def _text(moment: dt.datetime) -> str:
    """Return a moment as the input takes it: local, to the second."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
