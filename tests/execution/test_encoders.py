"""Parameters are encoded as psycopg's own dumpers encode them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import adapters
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.types.array import ListBinaryDumper
from psycopg.types.bool import BoolBinaryDumper
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.numeric import (
    FloatBinaryDumper,
    Int2BinaryDumper,
    Int4BinaryDumper,
    Int8BinaryDumper,
)
from psycopg.types.string import BytesBinaryDumper, StrBinaryDumper
from psycopg.types.uuid import UUIDBinaryDumper

from workflows.execution.sql.encoders import KINDS


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


TIMES = st.datetimes(timezones=st.timezones())
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
# per kind: values, their Python type, and the dumper that is right for the column
PEERS: dict[str, tuple[st.SearchStrategy[Any], type, Any]] = {
    "bigint": (integers(64), int, Int8BinaryDumper),
    "boolean": (st.booleans(), bool, BoolBinaryDumper),
    "bytea": (st.binary(), bytes, BytesBinaryDumper),
    "double precision": (st.floats(), float, FloatBinaryDumper),
    "integer": (integers(32), int, Int4BinaryDumper),
    "smallint": (integers(16), int, Int2BinaryDumper),
    "text": (TEXTS, str, StrBinaryDumper),
    "timestamptz": (TIMES, dt.datetime, DatetimeBinaryDumper),
    "uuid": (st.uuids(), uuid.UUID, UUIDBinaryDumper),
}


def by_psycopg(kind: str, value: Any) -> bytes:
    """Return what psycopg sends for a value or a list of them."""
    _, python_type, dumper = PEERS[kind]
    known = AdaptersMap(adapters)
    known.register_dumper(python_type, dumper)
    known.register_dumper(list, ListBinaryDumper)
    dumped = Transformer(known).get_dumper(value, PyFormat.BINARY).dump(value)
    assert dumped is not None
    return bytes(dumped)


@pytest.mark.parametrize("kind", PEERS)
@given(data=st.data())
def test_a_value_is_encoded_as_psycopg_does(kind: str, data: st.DataObject) -> None:
    value = data.draw(PEERS[kind][0])
    assert KINDS[kind].encode(value) == by_psycopg(kind, value)


@pytest.mark.parametrize("kind", PEERS)
@given(data=st.data())
def test_an_array_is_encoded_as_psycopg_does(kind: str, data: st.DataObject) -> None:
    values = PEERS[kind][0]
    repeated = st.tuples(values, st.integers(1, 5)).map(
        lambda pair: [pair[0]] * pair[1]
    )
    mixed = st.lists(st.none() | values, min_size=1).filter(any_value)
    array = data.draw(repeated | mixed)
    assert KINDS[kind].encode_array(array) == by_psycopg(kind, array)


def any_value(array: list[Any]) -> bool:
    """Return False for NULLs alone, from which psycopg knows no type."""
    return any(value is not None for value in array)


@example(zero=0.0)
@given(zero=st.sampled_from([0.0, -0.0]))
def test_both_zeros_of_an_array_are_kept(zero: float) -> None:
    array = [zero, -zero, 0.0, -0.0]
    encoded = KINDS["double precision"].encode_array(array)
    assert encoded == by_psycopg("double precision", array)


@given(st.datetimes(timezones=st.none()))
def test_a_time_without_zone_is_utc(time: dt.datetime) -> None:
    encode = KINDS["timestamptz"].encode
    assert encode(time) == encode(time.replace(tzinfo=dt.UTC))
