"""Parameters and responses as they are written on a command line."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from signalbox.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.client import Api

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}  # seconds
SPANS: Final = {"h": 1, "d": 24, "w": 168}  # hours


def pair(text: str, option: str) -> tuple[str, str]:
    """Return the name and the value of KEY=VALUE. Raises Failure."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise Failure(f"“{text}” is not KEY=VALUE: use {option} KEY=VALUE.")
    return key, value


def value_of(text: str) -> Any:
    """Return a value: JSON if it is any, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def objects(pairs: Iterable[str], option: str) -> dict[str, Any]:
    """Return the values of KEY=VALUE options by name. Raises Failure."""
    found = (pair(text, option) for text in pairs)
    return {key: value_of(value) for key, value in found}


def seconds(text: str, option: str) -> float:
    """Return a time in seconds: a number, or one with the unit s, m, h or d.

    Raises Failure.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "s")
    try:
        found = float(number) * UNITS[unit]
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise Failure(f"“{text}” is not a time: use {option} 90, 30m, 2h or 1d.")
    return found


def moment(text: str, option: str) -> str:
    """Return a time in ISO 8601: a date, a time, or how long ago in h, d or w; "" as it is.

    A time without a zone is one of this machine. Raises Failure.
    """
    if not text:
        return ""
    try:
        if text[-1] in SPANS:
            ago = dt.timedelta(hours=int(text[:-1]) * SPANS[text[-1]])
            return (dt.datetime.now(dt.UTC) - ago).isoformat()
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise Failure(
            f"“{text}” is not a time: use {option} 2026-11-01, 2026-11-01T08:00Z or 30d."
        ) from error


def json_file(path: Path) -> dict[str, Any]:
    """Return the object in a file. Raises Failure."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path} can’t be read: {error.strerror}.") from error
    except ValueError as error:
        raise Failure(f"{path} is not text in UTF-8.") from error
    return json_object(text, str(path))


def json_object(text: str, source: str) -> dict[str, Any]:
    """Return the object in a text. Raises Failure."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{source} is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Failure(f"{source} must be a JSON object with the parameters.")
    return found


def uploaded(api: Api, path: Path) -> str:
    """Upload a document; return its id. Raises Failure."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path} can’t be read: {error.strerror}.") from error
    response = api.request(
        "POST",
        "/documents",
        params={"name": path.name},
        content=content,
        headers={"Content-Type": "application/pdf"},
    )
    return str(response.json()["id"])
