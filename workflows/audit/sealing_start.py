"""The start of sealing: only older rows may lack seals."""

from __future__ import annotations

import datetime as dt
from hmac import compare_digest
from typing import Any, Final

from django.db import connections
from django.utils import timezone

from workflows.audit import keys, seals
from workflows.models import HistoryHead, Run

NAME: Final = "beginning"
UPGRADE: Final = dt.timedelta(
    hours=1
)  # processes of the previous release may still write


def remember(using: str = "default", **_: Any) -> None:
    """Record the start of sealing, once, after migrations."""
    table = HistoryHead._meta.db_table  # noqa: SLF001 - Django's documented model API
    if table not in connections[using].introspection.table_names():
        return  # migrated back to a schema without seals
    at = timezone.now()
    if Run.objects.using(using).exists():
        at += UPGRADE
    HistoryHead.objects.using(using).get_or_create(
        name=NAME, defaults={"at": at, "head": _authenticated(keys.sealing(), at)}
    )


def move_back(at: dt.datetime) -> None:
    """Move the start of sealing back to `at`: rows since then must have seals as well.

    Does nothing if sealing began earlier, or if its start is not known.
    """
    since = known()
    if since is not None and at < since:
        head = _authenticated(keys.sealing(), at)
        HistoryHead.objects.filter(name=NAME).update(at=at, head=head)


def known() -> dt.datetime | None:
    """Return the start of sealing; None if it is missing or its MAC is invalid."""
    row = HistoryHead.objects.filter(name=NAME).first()
    if row is None:
        return None
    is_valid = any(
        compare_digest(_authenticated(key, row.at), bytes(row.head))
        for key in keys.verifying()
    )
    return row.at if is_valid else None


def _authenticated(key: bytes, at: dt.datetime) -> bytes:
    return seals.mac(key, f"beginning {seals.microseconds(at)}".encode())
