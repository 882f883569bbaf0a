"""Whether a value that was read back is the one that was written.

Python calls a moment in the hour that a clock repeats unequal to the same moment in any other time
zone (PEP 495), and a zone comes back as a fixed offset: moments are compared in UTC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - moments are counted from it in UTC


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, moments within them compared in UTC."""
    if one == other:
        return True
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    """The value with moments as what is the same in every time zone; equality is kept otherwise."""
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _container(value)
    return _object(value)


def _container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return frozenset(map(_key, value))
    return type(value) is tuple, [_plain(item) for item in value]


def _object(value: Any) -> Any:
    """A model or dataclass as its fields, unless its author says what makes two of them equal."""
    if isinstance(value, BaseModel) and type(value).__eq__ is BaseModel.__eq__:
        private, extra = value.__pydantic_private__, value.__pydantic_extra__
        return type(value), _plain(value.__dict__), _plain(extra), private
    parameters = getattr(type(value), "__dataclass_params__", None)
    if parameters is None or not parameters.eq:
        return value
    compared = [each.name for each in dataclasses.fields(value) if each.compare]
    return type(value), [_plain(getattr(value, name)) for name in compared]


def _key(value: Any) -> Any:
    """What stands for it where it has to be hashable."""
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return _moment(value) if isinstance(value, datetime) else value


def _moment(value: datetime) -> Any:
    """Time since 1970 in UTC: as a timedelta, for the ends of time have no date in UTC."""
    offset = value.utcoffset()
    if offset is None:
        return value
    return "moment", value.replace(tzinfo=None) - _EPOCH - offset
