"""A form field for a date and time in a time zone.

The form submits its time zone, so that the value is interpreted in the zone that was
shown, even if the user's cookie has changed since. The initial value is submitted too: an
untouched field returns it exactly, to the microsecond, also where its local time is
ambiguous.
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
OUT_OF_RANGE = "Enter a time between the years 1 and 9999 in UTC."
AMBIGUOUS = 2  # instants of a local time


@dataclass(frozen=True, slots=True)
class DateTimeInputs:
    """The inputs of a date and time, as shown or as submitted."""

    text: str = ""  # local date and time
    zone: str = ""  # of the text; "" is the server's
    exact: str = ""  # initial value in ISO form
    offset: str = ""  # `+02:00`: selects one of two instants of an ambiguous time

    @classmethod
    def of(cls, value: Any) -> DateTimeInputs:
        """Return the inputs for a stored or a submitted value."""
        if isinstance(value, DateTimeInputs):
            return value
        instant = _parsed(value) if isinstance(value, str) else value
        if not isinstance(instant, dt.datetime):
            return cls(str(value or ""), current_zone())
        if timezone.is_naive(instant):
            return cls(_text(instant), current_zone(), instant.isoformat())
        here = local(instant)
        name, offset = str(here.tzinfo), here.isoformat()[-6:]
        return cls(_text(here), name, instant.isoformat(), offset)

    @property
    def tzinfo(self) -> dt.tzinfo:
        """Return the time zone of the text."""
        return zone_named(self.zone if is_zone(self.zone) else "")

    @property
    def choices(self) -> list[dt.datetime]:
        """Return the two instants of an ambiguous local time, else []."""
        wall = _parsed(self.text)
        if wall is None or timezone.is_aware(wall):
            return []
        found = readings(wall, self.tzinfo)
        return found if len(found) == AMBIGUOUS else []


class DateTimeZoneInput(forms.DateTimeInput):
    """Inputs for a date and time, its zone, and the offset of an ambiguous time."""

    input_type = "datetime-local"

    def render(
        self,
        name: str,
        value: Any,
        attrs: Mapping[str, Any] | None = None,
        renderer: Any = None,
    ) -> SafeString:
        """Return the HTML of the inputs, with the name of the zone."""
        inputs = DateTimeInputs.of(value)
        merged = dict(attrs or {})
        zone_id = f"{merged.get('id', name)}_zone"
        described = f"{merged.get('aria-describedby', '')} {zone_id}".strip()
        merged["aria-describedby"] = described
        return format_html(
            '{box}<input type="hidden" name="{name}{in_zone}" value="{zone}">'
            '<input type="hidden" name="{name}{is_exactly}" value="{exact}">'
            '{choice}<p class="help" id="{zone_id}">Time zone: {zone}</p>',
            box=super().render(name, inputs.text, merged, renderer),
            name=name,
            in_zone=IN_ZONE,
            is_exactly=EXACT,
            zone=inputs.zone or inputs.tzinfo,
            exact=inputs.exact,
            zone_id=zone_id,
            choice=_choice(name, inputs),
        )

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Any, name: str
    ) -> DateTimeInputs | None:
        """Return the submitted inputs, None if there are none."""
        text = super().value_from_datadict(data, files, name)
        if text is None:
            return None
        zone = data.get(name + IN_ZONE, "")
        return DateTimeInputs(
            str(text).strip(),
            zone if is_zone(zone) else current_zone(),
            data.get(name + EXACT, ""),
            data.get(name + OFFSET, ""),
        )


class LocalDateTimeField(forms.DateTimeField):
    """A date and time without a zone, cleaned to a naive datetime; None if empty."""

    widget = forms.DateTimeInput(attrs={"step": "1"})

    def to_python(self, value: Any) -> dt.datetime | None:
        """Return the time as entered. Raises ValidationError, also for one with an offset."""
        text = str(value or "").strip()
        found = _parsed(text)
        if found is not None and timezone.is_aware(found):
            raise ValidationError("Enter a date and time without an offset from UTC.")
        if found is None:
            with timezone.override(dt.UTC):  # which has no invalid or ambiguous times
                found = super().to_python(text)
        return found and found.replace(tzinfo=None)


class ZonedDateTimeField(forms.DateTimeField):
    """A date and time, cleaned to ISO text; None if empty.

    The text is in UTC, except for an unchanged initial value: that one keeps its offset,
    or its lack of one.
    """

    widget = DateTimeZoneInput(attrs={"step": "1"})

    def prepare_value(self, value: Any) -> Any:
        """Return the value unchanged: the widget formats it."""
        return value

    def clean(self, value: Any) -> str | None:
        """Return the time as ISO text. Raises ValidationError."""
        inputs = (
            value
            if isinstance(value, DateTimeInputs)
            else DateTimeInputs(str(value or "").strip())
        )
        inputs = inputs if inputs.zone else DateTimeInputs(inputs.text, current_zone())
        self.validate(inputs.text)
        return self._read(inputs) if inputs.text else None

    def _read(self, inputs: DateTimeInputs) -> str:
        wall = self._as_typed(inputs.text)
        if timezone.is_naive(wall):
            return _resolve(inputs, wall).isoformat()
        try:
            return wall.astimezone(dt.UTC).isoformat()
        except OverflowError as error:
            raise ValidationError(OUT_OF_RANGE) from error

    def _as_typed(self, text: str) -> dt.datetime:
        """Return the entered time: aware only if it has an offset."""
        if (found := _parsed(text)) is not None:
            return found
        with timezone.override(dt.UTC):  # which has no invalid or ambiguous times
            entered = self.to_python(text)
        if entered is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return entered.replace(tzinfo=None)


def readings(wall: dt.datetime, zone: dt.tzinfo) -> list[dt.datetime]:
    """Return the instants of a local time in a zone, in UTC and in order: none to two.

    Raises OverflowError beyond the years 1 to 9999.
    """
    found = []
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)
        shown = instant.astimezone(zone).replace(tzinfo=None, fold=0)
        if shown == wall.replace(fold=0) and instant not in found:
            found.append(instant)
    return found


def _resolve(inputs: DateTimeInputs, wall: dt.datetime) -> dt.datetime:
    """Return the instant of a local time. Raises ValidationError."""
    if _shows_naive_initial(inputs, wall):
        return dt.datetime.fromisoformat(inputs.exact)
    try:
        found = readings(wall, inputs.tzinfo)
    except OverflowError:
        found = []
    if len(found) == AMBIGUOUS and inputs.offset:
        for instant in found:
            if _offset(instant, inputs.tzinfo) == inputs.offset:
                # keep the fraction of a second, which the page does not show
                return _unchanged_initial(inputs, wall, instant) or instant
    if (was := _unchanged_initial(inputs, wall)) is not None:
        return was
    if len(found) == 1:
        return found[0]
    raise ValidationError(_why_not(found, wall, inputs.tzinfo))


def _shows_naive_initial(inputs: DateTimeInputs, wall: dt.datetime) -> bool:
    """Return whether the field still shows its initial value, which has no zone."""
    was = _parsed(inputs.exact)
    return (
        was is not None
        and timezone.is_naive(was)
        and was.replace(microsecond=0, fold=0) == wall
    )


def _unchanged_initial(
    inputs: DateTimeInputs, wall: dt.datetime, near: dt.datetime | None = None
) -> dt.datetime | None:
    """Return the initial value if the field still shows it, else None."""
    was = _parsed(inputs.exact)
    if was is None or timezone.is_naive(was):
        return None
    if near is not None and abs(was - near) >= dt.timedelta(seconds=1):
        return None
    shown = in_zone(inputs.zone if is_zone(inputs.zone) else "", local, was)
    return was if shown.replace(tzinfo=None, microsecond=0, fold=0) == wall else None


def _why_not(found: list[dt.datetime], wall: dt.datetime, zone: dt.tzinfo) -> str:
    here = f"{wall:%H:%M} on {wall.day} {wall:%B} {wall.year:04}"
    if found:
        offsets = " or ".join(_offset(instant, zone) for instant in found)
        return (
            f"{here} occurs twice in {zone}, where clocks go back. Choose one of the two,"
            f" or add the offset {offsets}."
        )
    try:
        wall.replace(tzinfo=zone).astimezone(dt.UTC)
    except OverflowError:
        return OUT_OF_RANGE
    return (
        f"{here} doesn’t exist in {zone}, where clocks go forward. Enter an earlier or"
        " later time."
    )


def _choice(name: str, inputs: DateTimeInputs) -> SafeString | str:
    """Return the choice of the offset of an ambiguous time, "" for any other."""
    try:
        choices = inputs.choices
    except OverflowError:
        return ""
    if not choices:
        return ""
    zone = inputs.tzinfo
    offsets = [_offset(instant, zone) for instant in choices]
    names = [short_name(instant.astimezone(zone)) for instant in choices]
    rows = [
        (offset, " selected" if offset == inputs.offset else "", label)
        for offset, label in (
            *([("", "Choose one")] if inputs.offset not in offsets else []),
            (offsets[0], f"First, {names[0]}"),
            (offsets[1], f"Second, {names[1]}"),
        )
    ]
    return format_html(
        '<label class="datetime-offset">This time occurs twice'
        ' <select name="{}{}">{}</select></label>',
        name,
        OFFSET,
        format_html_join("", '<option value="{}"{}>{}</option>', rows),
    )


def _offset(instant: dt.datetime, zone: dt.tzinfo) -> str:
    return instant.astimezone(zone).isoformat()[-6:]


def _parsed(text: str) -> dt.datetime | None:
    """Return a date and time in ISO form, None for anything else."""
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def _text(instant: dt.datetime) -> str:
    """Return a local time as the input formats it, to the second."""
    return instant.replace(tzinfo=None).isoformat(timespec="seconds")
