"""Compares the values of alert rules with their limits, by one process at a time.

A process moves the due time first, by one conditional UPDATE. The state of a rule, the
incident and the event are one transaction with the rule locked, so that an alert is raised
and cleared once, whichever process is killed when.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

from django.db import transaction

from workflows.alerts.metrics import measure
from workflows.infra import clock, outages
from workflows.models import AlertIncident, AlertMetric, AlertRule, EventKind, Tally
from workflows.outbox import events

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.alerts.metrics import Measured

logger = logging.getLogger(__name__)

NAME: Final = "alerts"  # of the row with the due time
INTERVAL: Final = dt.timedelta(seconds=30)
SHARES: Final = (AlertMetric.FAILED_SHARE, AlertMetric.EDGE_SHARE)


def evaluate_if_due(_worker: str = "") -> bool:
    """Evaluate all rules if it is time; return False if it is not, or another one does."""
    if not AlertRule.objects.exists():
        return False
    now = clock.now()
    row, _ = Tally.objects.get_or_create(name=NAME, defaults={"next_at": now})
    mine = Tally.objects.filter(pk=NAME, next_at=row.next_at)
    if row.next_at > now or not mine.update(next_at=now + INTERVAL):
        return False
    for rule_id in AlertRule.objects.values_list("pk", flat=True):
        try:
            evaluate(rule_id, now)
        except Exception as error:
            if outages.is_temporary(error):
                raise
            # the others must not wait for it; it is evaluated again with the next turn
            logger.exception("Alert rule %s could not be evaluated.", rule_id)
    return True


def evaluate(rule_id: UUID, now: dt.datetime) -> None:
    """Store the value of a rule; raise or clear its alert, with an event."""
    with transaction.atomic():
        rule = AlertRule.objects.select_for_update().filter(pk=rule_id).first()
        if rule is None:
            return
        measured = measure(rule, now)
        rule.value = measured.value if measured.count else None
        rule.evaluated_at = now
        if not rule.is_raised and _exceeds(rule, measured):
            rule.raised_at = now
            AlertIncident.objects.create(
                rule=rule, raised_at=now, raised_value=measured.value
            )
            _write(EventKind.ALERT_RAISED, rule, measured)
        elif rule.is_raised and measured.value <= rule.clear_at:
            rule.raised_at = None
            rule.incidents.filter(cleared_at=None).update(cleared_at=now)
            _write(EventKind.ALERT_CLEARED, rule, measured)
        rule.save(update_fields=["value", "evaluated_at", "raised_at"])


def _exceeds(rule: AlertRule, measured: Measured) -> bool:
    has_enough = rule.metric not in SHARES or measured.count >= rule.min_count
    return has_enough and measured.value > rule.raise_above


def _write(kind: EventKind, rule: AlertRule, measured: Measured) -> None:
    values = {
        "alert": str(rule.pk),
        "name": rule.name,
        "metric": rule.metric,
        "value": measured.value,
        "limit": rule.raise_above,
    }
    events.write(kind, rule.workflow_name, values)
