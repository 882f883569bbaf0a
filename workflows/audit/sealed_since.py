"""Since when the history is sealed: what is older may be without seals, nothing else."""

from __future__ import annotations

import datetime as dt
from hmac import compare_digest
from typing import Any, Final

from django.db import connections
from django.utils import timezone

from workflows.audit import keys, seals
from workflows.models import HistoryHead, Run

NAME: Final = "beginning"
UPGRADE: Final = dt.timedelta(hours=1)  # older processes may still write that long


def remember(using: str = "default", **_: Any) -> None:
    """Write down, once, that the history is sealed from now on; after migrations."""
    table = HistoryHead._meta.db_table  # noqa: SLF001 - Django's documented model API
    if table not in connections[using].introspection.table_names():
        return  # migrated back to before there was any
    at = timezone.now()
    if Run.objects.using(using).exists():
        at += UPGRADE
    HistoryHead.objects.using(using).get_or_create(
        name=NAME, defaults={"at": at, "head": _vouched(keys.sealing(), at)}
    )


def known() -> dt.datetime | None:
    """Return since when the history is sealed; None if nothing trustworthy says so."""
    row = HistoryHead.objects.filter(name=NAME).first()
    if row is None:
        return None
    good = any(
        compare_digest(_vouched(key, row.at), bytes(row.head))
        for key in keys.verifying()
    )
    return row.at if good else None


def _vouched(key: bytes, at: dt.datetime) -> bytes:
    return seals.mac(key, f"beginning {seals.moment(at)}".encode())
