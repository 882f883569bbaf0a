"""Times are shown and parsed in the zone of the user, which forms and deadlines name."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, NaiveDatetime

from tests.support.factories import make_approval, make_run
from workflows.agents import budgets
from workflows.engine.adapters import schema
from workflows.models import Status, WaitKind
from workflows.pages.forms.datetime_field import DateTimeInputs, DateTimeZoneInput
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.render.zones import (
    BoundedZone,
    date_time,
    in_zone,
    local,
    zone_named,
)
from workflows.templatetags.signalbox import exact_time

SignIn = Callable[[User], Client]
BERLIN, NEW_YORK, SAO_PAULO = "Europe/Berlin", "America/New_York", "America/Sao_Paulo"
END = dt.datetime.max.replace(tzinfo=dt.UTC)
BEGINNING = dt.datetime.min.replace(tzinfo=dt.UTC)
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
MOMENTS = st.datetimes(timezones=st.just(dt.UTC))


class At(BaseModel):
    """Params with a time."""

    at: dt.datetime | None = None


class Several(BaseModel):
    """Params with a list of times."""

    times: list[dt.datetime] = []


def form(sent: dict[str, str] | None = None, **options: Any) -> SchemaForm:
    data = None
    if sent is not None:
        data = QueryDict(mutable=True)
        data.update(sent)
    return SchemaForm(At.model_json_schema(), data=data, **options)


INPUT = re.compile(r"<input[^>]*>")
NAMED = re.compile(r'(name|value)="([^"]*)"')
CHOSEN = re.compile(r'<option value="([^"]*)" selected>')


def sent_by(html: str) -> dict[str, str]:
    """Return the data that a browser submits for an unchanged field."""
    found = {}
    for one in INPUT.findall(html):
        attrs = dict(NAMED.findall(one))
        found[attrs["name"]] = attrs.get("value", "")
    if chosen := CHOSEN.search(html):
        found["at:offset"] = chosen[1]
    return found


def read(sent: dict[str, str]) -> dt.datetime:
    """Return the time that a form parses."""
    filled = form(sent)
    assert filled.is_valid(), filled.errors
    return dt.datetime.fromisoformat(filled.values()["at"])


def refusal(sent: dict[str, str]) -> str:
    filled = form(sent)
    assert not filled.is_valid()
    return " ".join(map(str, filled.errors["at"]))


# Zones ----------------------------------------------------------------------------------


@given(MOMENTS, ZONES)
@example(END, "Pacific/Kiritimati")
@example(BEGINNING, "America/Los_Angeles")
def test_every_time_can_be_shown_in_every_zone(moment: dt.datetime, zone: str) -> None:
    here = in_zone(zone, local, moment)
    assert here == moment
    assert in_zone(zone, timezone.localtime, moment) == moment
    assert in_zone(zone, date_time, moment)


def test_a_time_outside_the_range_of_a_zone_is_shown_in_utc() -> None:
    assert in_zone(BERLIN, date_time, END) == "31 Dec 9999, 23:59 UTC"
    assert in_zone(NEW_YORK, date_time, BEGINNING) == "1 Jan 0001, 00:00 UTC"
    assert in_zone(BERLIN, date_time, BEGINNING).startswith("1 Jan 0001, 00:53")
    held = END.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    assert in_zone(BERLIN, date_time, held) == "31 Dec 9999, 23:59 UTC-05:00"


def test_a_zone_without_a_short_name_is_named_by_its_offset() -> None:
    moment = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert in_zone(SAO_PAULO, date_time, moment) == "1 Jul 2026, 09:00 UTC-03:00"
    assert in_zone(BERLIN, date_time, moment) == "1 Jul 2026, 14:00 CEST"


def test_a_bounded_zone_is_known_by_the_name_of_its_zone() -> None:
    bounded = BoundedZone(ZoneInfo(BERLIN))
    assert str(bounded) == BERLIN
    summer = dt.datetime(2026, 7, 1, tzinfo=bounded)
    assert summer.utcoffset() == dt.timedelta(hours=2)
    assert (summer.tzname(), summer.dst()) == ("CEST", dt.timedelta(hours=1))


# Pages and admin ------------------------------------------------------------------------


@pytest.fixture
def waiting_run(db: None) -> Any:
    return make_run(
        status=Status.WAITING,
        waiting_for=WaitKind.WAIT,
        waiting_node="wait_a_while",
        wake_at=dt.datetime(2126, 7, 1, 12, tzinfo=dt.UTC),
    )


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code
    return " ".join(answer.content.decode().split())


def test_a_timer_is_shown_in_the_zone_of_the_reader(
    alice: User, sign_in: SignIn, waiting_run: Any
) -> None:
    client = sign_in(alice)
    address = f"/runs/{waiting_run.pk}/"
    assert "1 Jul 2126, 12:00 UTC" in text_of(client, address)
    client.cookies["zone"] = BERLIN
    text = text_of(client, address)
    assert "1 Jul 2126, 14:00 CEST" in text
    assert "12:00 UTC" not in text


def test_the_deadline_of_an_approval_names_the_zone_of_the_reader(
    alice: User, sign_in: SignIn
) -> None:
    due = dt.datetime(2126, 7, 1, 12, tzinfo=dt.UTC)
    run = make_run(status=Status.WAITING, wake_at=due)
    make_approval(run, expires_at=due)
    client = sign_in(alice)
    client.cookies["zone"] = BERLIN
    for address in (f"/runs/{run.pk}/", "/approvals/", "/"):
        text = text_of(client, address)
        assert "1 Jul 2126, 14:00 CEST" in text, address
        assert "12:00 UTC" not in text, address


def test_admin_shows_times_in_the_zone_of_the_reader_and_names_it(
    admin: User, sign_in: SignIn, waiting_run: Any
) -> None:
    client = sign_in(admin)
    client.cookies["zone"] = BERLIN
    text = text_of(client, f"/admin/workflows/run/{waiting_run.pk}/change/")
    assert "1 Jul 2126, 14:00:00" in text
    assert f"Times are in {BERLIN}." in text


@pytest.mark.parametrize("moment", [END, BEGINNING])
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, "Pacific/Kiritimati", ""])
def test_no_page_fails_for_minimum_and_maximum_times(
    moment: dt.datetime, zone: str, admin: User, sign_in: SignIn
) -> None:
    timer = make_run(
        status=Status.WAITING,
        waiting_for=WaitKind.WAIT,
        waiting_node="wait",
        wake_at=moment,
    )
    asked = make_run(status=Status.WAITING, wake_at=moment)
    make_approval(asked, expires_at=moment)
    client = sign_in(admin)
    client.cookies["zone"] = zone
    for address in (
        f"/runs/{timer.pk}/",
        f"/runs/{asked.pk}/",
        "/approvals/",
        "/",
        "/runs/",
        f"/admin/workflows/run/{timer.pk}/change/",
        "/admin/workflows/run/",
        "/admin/workflows/approval/",
        f"/admin/workflows/approval/{asked.approvals.get().pk}/change/",
    ):
        assert client.get(address).status_code == 200, address


def test_a_budget_day_is_always_in_the_time_zone_of_the_server() -> None:
    there = in_zone("Pacific/Kiritimati", budgets.midnight)
    assert there == in_zone("Pacific/Pago_Pago", budgets.midnight) == budgets.midnight()
    assert in_zone("Pacific/Kiritimati", budgets.server_day) == budgets.server_day()


# Forms ----------------------------------------------------------------------------------


@given(MOMENTS, ZONES)
@example(END, "Pacific/Kiritimati")
@example(BEGINNING, "America/Los_Angeles")
@example(dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC), BERLIN)
@example(dt.datetime(2026, 10, 25, 1, 30, 0, 7, tzinfo=dt.UTC), BERLIN)
def test_an_untouched_time_round_trips_unchanged(
    moment: dt.datetime, zone: str
) -> None:
    shown = in_zone(zone, str, form(initial={"at": moment.isoformat()})["at"])
    assert in_zone("Asia/Tokyo", read, sent_by(shown)) == moment


def test_a_form_shows_the_zone_of_its_times() -> None:
    shown = in_zone(BERLIN, str, form(initial={"at": "2026-07-01T12:00:00Z"})["at"])
    assert 'value="2026-07-01T14:00:00"' in shown
    assert f"Time zone: {BERLIN}" in shown
    empty = in_zone(SAO_PAULO, str, form()["at"])
    assert f"Time zone: {SAO_PAULO}" in empty


def test_input_is_parsed_in_the_zone_of_the_form() -> None:
    sent = {"at": "2026-07-01T14:00", "at:zone": BERLIN}
    noon = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert in_zone(NEW_YORK, read, sent) == noon
    assert in_zone(BERLIN, read, {"at": "2026-07-01T14:00"}) == noon
    assert in_zone(BERLIN, read, {**sent, "at:zone": "Nowhere/Else"}) == noon
    assert in_zone(NEW_YORK, read, {"at": "2026-07-01T14:00+02:00"}) == noon


def test_a_changed_time_replaces_the_initial_one() -> None:
    sent = {"at": "2026-07-01T15:00", "at:zone": BERLIN}
    sent["at:exact"] = "2026-07-01T12:00:00+00:00"
    assert read(sent) == dt.datetime(2026, 7, 1, 13, tzinfo=dt.UTC)


def test_an_ambiguous_local_time_requires_an_offset() -> None:
    sent = {"at": "2026-10-25T02:30", "at:zone": BERLIN}
    message = refusal(sent)
    assert message.startswith("02:30 on 25 October 2026 occurs twice in Europe/Berlin")
    assert "+02:00 or +01:00" in message
    again = str(form(sent)["at"])
    assert "First, CEST" in again
    assert "Second, CET" in again
    assert read({**sent, "at:offset": "+02:00"}).hour == 0
    assert read({**sent, "at:offset": "+01:00"}).hour == 1
    assert "occurs twice" in refusal({**sent, "at:offset": "+05:00"})


def test_either_of_two_ambiguous_times_can_be_selected() -> None:
    shown = str(DateTimeInputs.of("2026-10-25T00:30:00+00:00").text)
    assert shown == "2026-10-25T00:30:00"  # unambiguous in UTC
    html = in_zone(BERLIN, str, form(initial={"at": "2026-10-25T00:30:00Z"})["at"])
    sent = sent_by(html)
    assert sent["at:offset"] == "+02:00"
    assert read({**sent, "at:offset": "+01:00"}).hour == 1


def test_a_local_time_that_does_not_exist_is_refused_with_a_message() -> None:
    message = refusal({"at": "2026-03-29T02:30", "at:zone": BERLIN})
    assert message.startswith("02:30 on 29 March 2026 doesn’t exist in Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("9999-12-31T23:00", NEW_YORK),
        ("0001-01-01T00:00", BERLIN),
        ("9999-12-31T23:00-05:00", BERLIN),
    ],
)
def test_a_time_beyond_the_calendar_is_refused_with_a_message(
    text: str, zone: str
) -> None:
    message = refusal({"at": text, "at:zone": zone})
    assert message == "Enter a time between the years 1 and 9999 in UTC."


@pytest.mark.parametrize("text", ["soon", "2026-02-30T10:00", "14:00", "\x00"])
def test_an_invalid_time_is_refused_and_shown_again(text: str) -> None:
    sent = {"at": text, "at:zone": BERLIN, "at:exact": "x", "at:offset": "y"}
    assert "valid date" in refusal(sent)
    assert f'value="{BERLIN}"' in str(form(sent)["at"])


def test_times_one_per_line_show_their_zone_and_accept_an_offset() -> None:
    def lines() -> tuple[str, Any]:
        data = QueryDict(mutable=True)
        data.update({"times": "2026-07-01T14:00\n2026-07-01T14:00-03:00"})
        made = SchemaForm(Several.model_json_schema(), data=data)
        assert made.is_valid(), made.errors
        return str(made.fields["times"].help_text), made.values()["times"]

    message, found = in_zone(BERLIN, lines)
    assert f"are in {BERLIN}" in message
    assert found == ["2026-07-01T12:00:00+00:00", "2026-07-01T17:00:00+00:00"]


def with_subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from with_subclasses(inner)


def test_no_other_form_widget_accepts_a_time() -> None:
    from django import forms

    import workflows.pages.urls  # noqa: F401 - imports all forms

    ours = {
        one
        for one in with_subclasses(forms.DateTimeInput)
        if one.__module__.startswith("workflows")
    }
    assert ours == {DateTimeZoneInput}


def test_the_servers_zone_is_the_one_without_a_name() -> None:
    assert zone_named("") is timezone.get_default_timezone()


@pytest.mark.django_db
def test_the_script_gets_the_zone_of_a_deadline() -> None:
    shown = in_zone(BERLIN, exact_time, END)
    assert f'data-exact="{BERLIN}"' in shown  # the script does not convert it
    assert ">31 Dec 9999, 23:59 UTC<" in shown


# Times without a zone -------------------------------------------------------------------


class Local(BaseModel):
    """Params with a naive time."""

    at: NaiveDatetime


def local_form(text: str) -> SchemaForm:
    data = QueryDict(mutable=True)
    data["at"] = text
    return SchemaForm(dict(schema(Local)), data=data)


@pytest.mark.parametrize(
    "text", ["2026-03-29T02:30", "2026-03-29T02:30:00", "2026-03-29 02:30"]
)
def test_a_time_without_a_zone_is_read_as_typed_in_every_zone(text: str) -> None:
    with timezone.override(BERLIN):  # a zone that skips this time
        filled = local_form(text)
        assert filled.is_valid(), filled.errors
    assert Local(**filled.values()).at == dt.datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-03-29T02:30+01:00", "Enter a date and time without an offset from UTC."),
        ("2026-13-29T02:30", "Enter a valid date/time."),
        ("", "This field is required."),
    ],
)
def test_a_time_that_is_not_one_without_a_zone_is_refused(
    text: str, message: str
) -> None:
    filled = local_form(text)
    assert not filled.is_valid()
    assert filled.errors["at"] == [message]
