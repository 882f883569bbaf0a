"""Moments in requests: with a time zone, as UTC, since PostgreSQL reads no offset above 15:59."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _as_utc(moment: dt.datetime) -> dt.datetime:
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError("has to be in the years 1 to 9999 in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_as_utc)]
