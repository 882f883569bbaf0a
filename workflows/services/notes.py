"""Notes on runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from workflows.audit import audit_events
from workflows.errors import InvalidParams
from workflows.infra import notifications
from workflows.models import Note, Run

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MAX_NOTE_LENGTH = 4_000  # characters


def add(run: Run, text: str, *, by: AbstractBaseUser) -> Note:
    """Add a note to a run. Raises InvalidParams for an empty or too long one.

    A note that repeats the run's last one, by the same author, is that note: its form
    was sent again, since the first response got lost.
    """
    text = text.replace("\x00", "").strip()
    if not text:
        raise InvalidParams({"": ["Write the note, then add it."]})
    if len(text) > MAX_NOTE_LENGTH:
        sentence = (
            f"The note has {len(text):,} characters, at most {MAX_NOTE_LENGTH:,} can be"
            " stored. Shorten it and submit again."
        )
        raise InvalidParams({"": [sentence]})
    with transaction.atomic():
        last = Note.objects.filter(run=run).last()
        if last is not None and (last.author_id, last.text) == (by.pk, text):
            return last
        note = Note.objects.create(
            run=run, author_id=by.pk, author_name=by.get_username(), text=text
        )
        audit_events.record(run, "note", by=by, after=run.status)
        notifications.changed_on_commit(run.pk)
    return note
