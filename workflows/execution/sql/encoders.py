"""Values in PostgreSQL's binary format, by the type of the parameter that takes them.

The driver chooses a format by looking at each value, which costs more than to encode it.
Here the type is known: it is the column's, so that a statement has one form, whichever of
its values are NULL. Text is UTF-8, the encoding of Django's connections.
"""

from __future__ import annotations

import datetime as dt
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# PostgreSQL counts microseconds from here
_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_NULL: Final = b"\xff\xff\xff\xff"  # the length -1
_JSONB_VERSION: Final = b"\x01"

_int8: Final = struct.Struct(">q").pack
_length: Final = struct.Struct(">i").pack
_no_dimensions: Final = struct.Struct(">iiI").pack
_one_dimension: Final = struct.Struct(">iiIii").pack


def _boolean(value: object) -> bytes:
    return b"\x01" if value else b"\x00"


def _timestamp(value: dt.datetime) -> bytes:
    if value.tzinfo is None:  # in the time zone of Django's connections
        value = value.replace(tzinfo=dt.UTC)
    return _int8((value - _EPOCH) // _MICROSECOND)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of parameters: its object identifiers and the encoding of a value."""

    oid: int
    array_oid: int
    encode: Callable[[Any], bytes]
    is_exact: bool = True  # equal values have the same encoding

    def encode_array(self, values: Sequence[Any]) -> bytes:
        """Return an array of one dimension; None is NULL."""
        size = len(values)
        if not size:
            return _no_dimensions(0, 0, self.oid)
        first = values[0]
        if (self.is_exact or first is None) and values.count(first) == size:
            has_null, elements = first is None, self._element(first) * size
        else:
            has_null = None in values
            elements = b"".join(map(self._element, values))
        return _one_dimension(1, has_null, self.oid, size, 1) + elements

    def _element(self, value: Any) -> bytes:
        if value is None:
            return _NULL
        encoded = self.encode(value)
        return _length(len(encoded)) + encoded


_FLOAT8: Final = Kind(
    701, 1022, struct.Struct(">d").pack, is_exact=False
)  # 0.0 == -0.0
KINDS: Final[Mapping[str, Kind]] = {
    "bigint": Kind(20, 1016, _int8),
    "boolean": Kind(16, 1000, _boolean),
    "bytea": Kind(17, 1001, bytes),
    "double precision": _FLOAT8,
    "float8": _FLOAT8,
    "integer": Kind(23, 1007, struct.Struct(">i").pack),
    "jsonb": Kind(3802, 3807, lambda text: _JSONB_VERSION + text.encode()),
    "smallint": Kind(21, 1005, struct.Struct(">h").pack),
    "text": Kind(25, 1009, str.encode),
    "timestamptz": Kind(1184, 1185, _timestamp),
    "uuid": Kind(2950, 2951, lambda value: value.bytes),
}
