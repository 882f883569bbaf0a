"""Values of typed states: each is read back unchanged, or is refused at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, Field, PlainSerializer, SecretStr

from tests.engine.reviews import Surely, Verdict, a_review, resumed
from workflows.engine.errors import NotSerialisable
from workflows.engine.state import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANYBODY = UUID("0189a7d2-0000-7000-8000-000000000001")


class Colour(Enum):
    """Markings."""

    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Box:
    """A rectangle on a page."""

    left: int
    right: int


class Everything(State):
    """A field of each kind of type."""

    number: int = 0
    real: float = 0.0
    text: str | None = None
    flag: bool = False
    at: datetime | None = None
    day: date | None = None
    lasts: timedelta | None = None
    who: UUID | None = None
    colour: Colour = Colour.GREEN
    price: Decimal = Decimal(0)
    names: set[str] = Field(default_factory=set)
    frozen: frozenset[int] = frozenset()
    pair: tuple[int, str] | None = None
    box: Box | None = None
    by_page: dict[int, Verdict] = Field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    strict: UUID | None = Field(default=None, strict=True)
    either: int | float | str = 0
    anything: Any = None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 2**53 + 1),
        ("number", -(2**90)),
        ("real", 0.1),
        ("text", None),
        ("text", "ünï"),
        ("flag", True),
        ("at", NOON),
        ("at", datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("day", date(2026, 3, 1)),
        ("lasts", timedelta(days=2, microseconds=1)),
        ("who", ANYBODY),
        ("colour", Colour.RED),
        ("price", Decimal("1.10")),
        ("names", {"a"}),
        ("frozen", frozenset({3})),
        ("pair", (1, "x")),
        ("box", Box(1, 2)),
        ("by_page", {1: Verdict(label="x"), 20: Verdict(label="y")}),
        ("kind", "b"),
        ("strict", ANYBODY),
        ("either", 1),
        ("either", 1.0),
        ("either", "1"),
        ("anything", {"list": [1, 2.0, None, True]}),
    ],
    ids=repr,
)
def test_a_value_round_trips_unchanged(name: str, value: Any) -> None:
    state = Everything().set(name, value)
    for same in (state, resumed(state), state.stamped(sequence=1), state.clone()):
        found = getattr(same, name)
        assert found == value
        assert isinstance(found, type(value))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("anything", Colour.RED, "would come back as 'red'"),
        ("anything", (1, 2), r"would come back as \[1, 2\]"),
        ("anything", {"a": [{1}]}, "would come back as"),
        ("anything", {1: 2}, "would come back as"),
        ("real", math.nan, "JSON has no nan"),
        ("real", math.inf, "JSON has no inf"),
        ("text", "nul \x00", "NUL"),
    ],
    ids=repr,
)
def test_a_value_that_does_not_round_trip_is_refused(
    name: str, value: Any, why: str
) -> None:
    with pytest.raises(NotSerialisable, match=why) as caught:
        Everything().set(name, value)
    assert caught.value.path == name
    assert caught.value.type is type(value)


def test_what_cannot_be_written_is_refused_with_its_path_and_type() -> None:
    with pytest.raises(NotSerialisable) as caught:
        Everything().set(anything={"pages": [1, {"handle": object()}]})
    assert caught.value.path == "anything.pages.1.handle"
    assert caught.value.type is object


def test_a_subclass_of_the_model_of_a_field_is_refused_because_it_would_lose_fields() -> (
    None
):
    with pytest.raises(NotSerialisable, match="“answer” cannot be stored"):
        a_review(answer=Surely(label="x"))


def test_a_secret_text_is_refused_because_it_would_be_read_as_asterisks() -> None:
    class Hidden(State):
        token: SecretStr = SecretStr("")

    with pytest.raises(NotSerialisable, match="would come back") as caught:
        Hidden(token=SecretStr("hush-hush"))
    assert "hush-hush" not in str(caught.value)


def test_an_ambiguous_union_is_refused() -> None:
    class Ambiguous(State):
        who: UUID | str = ""

    assert Ambiguous(who="x").who == "x"
    with pytest.raises(NotSerialisable, match=r"“who” .* would come back as '0189"):
        Ambiguous(who=ANYBODY)


def test_sets_are_stored_in_an_order_that_does_not_change() -> None:
    names = {f"name-{n}" for n in range(50)}
    stored = Everything(names=names).data["names"]
    assert stored == sorted(names)


# Times ------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


class Slot(BaseModel):
    """A time in a model."""

    at: datetime


@dataclass
class Window:
    """Times in a dataclass."""

    start: datetime
    notes: tuple[str, ...] = ()


class Agenda(State):
    """Times wherever a state can hold them."""

    at: datetime | None = None
    slots: tuple[Slot, ...] = ()
    windows: list[Window] = Field(default_factory=list)
    by_moment: dict[datetime, int] = Field(default_factory=dict)
    moments: frozenset[datetime] = frozenset()
    pairs: dict[str, tuple[datetime, int]] = Field(default_factory=dict)


@pytest.mark.parametrize("hour", range(4))
def test_a_time_in_the_repeated_hour_is_preserved(
    hour: int,
) -> None:
    # clocks in Berlin show 02:30 at 00:30 and at 01:30 UTC
    utc = datetime(2026, 10, 24, 23, 30, tzinfo=UTC) + timedelta(hours=hour)
    at = utc.astimezone(BERLIN)
    agenda = Agenda(
        at=at,
        slots=(Slot(at=at),),
        windows=[Window(at, ("a",))],
        by_moment={at: 1},
        moments=frozenset({at}),
        pairs={"a": (at, 2)},
    )
    assert agenda.at is not None
    assert agenda.at.astimezone(UTC) == utc
    again = Agenda.from_data(agenda.data)
    assert again.slots[0].at.astimezone(UTC) == utc
    assert again.windows[0].start.astimezone(UTC) == utc
    assert [key.astimezone(UTC) for key in again.by_moment] == [utc]
    assert [each.astimezone(UTC) for each in again.moments] == [utc]
    assert again.pairs["a"][0].astimezone(UTC) == utc


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("hours", [-5, 5])
def test_minimum_and_maximum_times_round_trip_in_any_zone(
    year: int, hours: int
) -> None:
    day = (1, 1) if year == 1 else (12, 31)
    at = datetime(year, *day, tzinfo=timezone(timedelta(hours=hours)))
    assert Agenda(at=at).at == at


def test_different_times_do_not_compare_as_equal() -> None:
    class Later(State):
        at: Annotated[datetime, PlainSerializer(lambda v: v + timedelta(hours=1))]

    with pytest.raises(NotSerialisable, match="would come back as"):
        Later(at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC).astimezone(BERLIN))
