"""A run whose node ignores that it is cancelled can be cancelled again after a delay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run
from workflows.errors import InvalidStatus
from workflows.models import AuditEvent, Run
from workflows.models.status import CANCEL_AGAIN
from workflows.system import System


def test_a_cancel_can_be_repeated_after_a_delay(
    alice: User, sign_in: Callable[[User], Client]
) -> None:
    run = make_run(
        status="running",
        worker="busy",
        attempt=1,
        lease_expires_at=timezone.now() + dt.timedelta(hours=1),
    )
    page, address = sign_in(alice), reverse("run", args=[run.pk])
    action = f'action="{reverse("run-cancel", args=[run.pk])}"'
    assert action in page.get(address).content.decode()
    System().cancel(run.pk, by=alice, reason="first")
    assert action not in page.get(address).content.decode()
    with pytest.raises(InvalidStatus):
        System().cancel(run.pk, by=alice, reason="at once")

    row = Run.objects.filter(pk=run.pk)
    row.update(cancel_requested_at=timezone.now() - CANCEL_AGAIN)
    assert action in page.get(address).content.decode()
    System().cancel(run.pk, by=alice, reason="it still runs")
    assert row.get().cancel_reason == "it still runs"
    text = AuditEvent.objects.filter(run=run, action="cancel").order_by("id")
    assert [one.reason for one in text] == ["first", "it still runs"]
