"""A flush restores what Django would have created."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db.models import F

Rows = set[tuple[object, ...]]


def _rows() -> tuple[Rows, Rows]:
    permissions = Permission.objects.annotate(model=F("content_type__model"))
    return (
        set(ContentType.objects.values_list("app_label", "model")),
        set(permissions.values_list("model", "codename", "name")),
    )


@pytest.mark.django_db(transaction=True)
def test_a_flush_restores_all_content_types_and_permissions() -> None:
    for _ in range(2):  # the first of a process creates, all others copy
        call_command("flush", interactive=False, verbosity=0)
    restored = _rows()
    Permission.objects.all().delete()
    ContentType.objects.all().delete()
    emit_post_migrate_signal(0, False, "default")
    assert _rows() == restored
