"""Days and bars use the zone of the user; an unknown zone is replaced by the server's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import make_run
from workflows.models import EdgeTally, RunTally, Status
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists.edge_shares import shares_of
from workflows.pages.lists.overview import overview
from workflows.pages.lists.period import Period

SignIn = Callable[[User], Client]
DAY = {
    "from": "2026-03-29",
    "to": "2026-03-29",
}  # start of daylight saving time in Berlin
SUMMER = "Europe/Berlin"


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type,misc]


def test_days_start_at_midnight_of_the_zone_in_the_address() -> None:
    period = Period.read({**DAY, "zone": SUMMER})
    assert (period.since, period.until) == (utc(2026, 3, 28, 23), utc(2026, 3, 29, 22))
    assert period.query == {**DAY, "zone": SUMMER}


@pytest.mark.parametrize("zone", ["", "Europe/Nowhere", "../etc/passwd", "a\x00b"])
def test_an_invalid_zone_is_replaced_by_that_of_the_server(zone: str) -> None:
    period = Period.read({**DAY, "zone": zone})
    assert (period.since, period.until) == (utc(2026, 3, 29), utc(2026, 3, 30))
    assert "zone" not in period.query


def test_a_relative_period_has_no_zone() -> None:
    assert Period.read({"when": "24h", "zone": SUMMER}).query == {"when": "24h"}


@pytest.mark.django_db
def test_runs_are_found_by_days_of_that_zone(alice: User, sign_in: SignIn) -> None:
    late = utc(2026, 3, 28, 23, 30)
    run = make_run(pk=run_id_at(late), created_at=late)
    page = sign_in(alice)
    there = page.get("/runs/", {**DAY, "zone": SUMMER}).content.decode()
    assert run.short_id in there
    assert f"From <small>{SUMMER}</small>" in there
    here = page.get("/runs/", DAY).content.decode()
    assert run.short_id not in here
    assert "From <small>UTC</small>" in here


@pytest.mark.django_db
def test_the_zone_of_the_cookie_is_offered_for_days(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    page.cookies["zone"] = SUMMER
    for address in ("/runs/", "/decisions/"):
        text = page.get(address).content.decode()
        assert f'name="zone" value="{SUMMER}"' in text
    assert f"per day in {SUMMER}" in page.get("/").content.decode()


@pytest.mark.django_db
def test_bars_of_the_home_page_are_days_of_the_zone(alice: User) -> None:
    now = dt.datetime.now(dt.UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    RunTally.objects.create(
        hour=hour, workflow_name="luck", status=Status.COMPLETED, count=3
    )
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", ""):
        message = overview(alice, zone)
        assert message.fortnight.bars.last.endswith("3 completed"), zone
        assert message.day.total == 3
    far = overview(alice, "Pacific/Kiritimati").fortnight.bars.last
    assert far.startswith(f"{now + dt.timedelta(hours=14):%d %b}")


@pytest.mark.django_db
def test_shares_over_time_are_by_days_of_the_zone(alice: User) -> None:
    EdgeTally.objects.create(
        hour=utc(2026, 3, 28, 23),
        workflow_name="luck",
        from_node="roll",
        to_node="cheer",
        predicate_name="is_six",
        edge_index=0,
        taken=4,
        rejected=0,
        by_people=0,
    )
    week = {"from": "2026-03-26", "to": "2026-04-02"}
    for zone, day in ((SUMMER, "29 Mar"), ("", "28 Mar")):
        (leaving,) = shares_of(alice, "luck", Period.read({**week, "zone": zone}))
        message = [bar.title for bar in leaving.bars.bars if "Cheer" in bar.title]
        assert message == [f"{day}: Cheer 100% (4)"]
