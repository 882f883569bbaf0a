"""`/metrics`: Prometheus metrics of the installation and of this process.

Metrics of the whole installation are read from the database; each process exports its own
counters (commits, claims). A separate worker process exports them at METRICS_PORT. Without
permission the response is 404.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections import Counter
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Min, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from workflows.access import permissions
from workflows.execution import workers
from workflows.execution.event_delivery import oldest_kept
from workflows.infra import clock
from workflows.models import (
    Delivery,
    DeliveryStatus,
    Destination,
    DestinationKind,
    DestinationState,
    EventMessage,
    EventWait,
    EventWaitKind,
    OutboxEvent,
    Run,
    Status,
    WorkflowPause,
)
from workflows.models.pauses import CONTINUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Respond with all metrics. Raises Http404 without permission."""
    if not _can_scrape(request):
        raise Http404
    text = generate_latest(_installation) + generate_latest(REGISTRY)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _can_scrape(request: HttpRequest) -> bool:
    """Return True for Prometheus with its token and for users who may see totals."""
    kind, _, token_sent = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        token = settings.METRICS_TOKEN.encode()
        return bool(token) and secrets.compare_digest(
            token_sent.strip().encode(), token
        )
    return permissions.can_view_totals(request.user)


class InstallationCollector(Collector):
    """Metrics that are read from the database at each scrape."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges, all for the same time."""
        now = clock.now()
        yield from _workers(now)
        yield from _queue(now)
        yield from _not_started()
        yield from _events()
        yield from _runs()
        yield from _deliveries(now)


def _workers(now: dt.datetime) -> Iterator[GaugeMetricFamily]:
    alive = list(workers.alive())
    yield GaugeMetricFamily(
        "signalbox_workers_alive",
        "Workers whose last heartbeat is younger than a lease.",
        value=len(alive),
    )
    running = GaugeMetricFamily(
        "signalbox_worker_running", "Runs a worker holds.", labels=["worker"]
    )
    capacity = GaugeMetricFamily(
        "signalbox_worker_capacity", "Runs a worker may hold.", labels=["worker"]
    )
    heartbeat = GaugeMetricFamily(
        "signalbox_worker_heartbeat_age_seconds",
        "Seconds since a worker's last heartbeat.",
        labels=["worker"],
    )
    for worker in alive:
        running.add_metric([worker.name], worker.running)
        capacity.add_metric([worker.name], worker.capacity)
        age = (now - worker.heartbeat_at).total_seconds()
        heartbeat.add_metric([worker.name], max(age, 0))
    yield from (running, capacity, heartbeat)


def _queue(now: dt.datetime) -> Iterator[GaugeMetricFamily]:
    depth = GaugeMetricFamily(
        "signalbox_queue_depth", "Runs that wait for a worker.", labels=["workflow"]
    )
    age = GaugeMetricFamily(
        "signalbox_queue_oldest_age_seconds",
        "Seconds that the longest waiting run has waited for a worker.",
        labels=["workflow"],
    )
    pending = Run.objects.filter(status=Status.PENDING).order_by()
    # others wait for the end of a pause or a limit, and not for a worker
    pending = pending.exclude(_paused()).filter(limit_key=None)
    for name, count, since in pending.values_list("workflow_name").annotate(
        Count("pk"), Min("updated_at")
    ):
        depth.add_metric([name], count)
        age.add_metric([name], max((now - since).total_seconds(), 0))
    yield from (depth, age)


def _paused() -> Q:
    """Return the condition of pending runs that a pause keeps from starting."""
    names = WorkflowPause.objects.values("workflow_name")
    return Q(workflow_name__in=names) & ~CONTINUES


def _not_started() -> Iterator[GaugeMetricFamily]:
    pending = Run.objects.filter(status=Status.PENDING).order_by()
    for name, text, rows in (
        (
            "signalbox_paused_runs",
            "Pending runs that start when their workflow is unpaused.",
            pending.filter(_paused()),
        ),
        (
            "signalbox_limited_runs",
            "Pending runs of workflows with limits, which may wait for one.",
            pending.exclude(_paused()).exclude(limit_key=None),
        ),
    ):
        family = GaugeMetricFamily(name, text, labels=["workflow"])
        for workflow, count in rows.values_list("workflow_name").annotate(Count("pk")):
            family.add_metric([workflow], count)
        yield family


def _events() -> Iterator[GaugeMetricFamily]:
    waits = GaugeMetricFamily(
        "signalbox_open_waits", "Open waits of runs, by kind.", labels=["kind"]
    )
    rows = EventWait.objects.open().order_by().values_list("kind")
    counts = dict(rows.annotate(Count("pk")))
    for kind in (EventWaitKind.EVENT, EventWaitKind.CALLBACK):
        waits.add_metric([kind.value], counts.get(kind.value, 0))
    yield waits
    kept = EventMessage.objects.filter(delivered_at=None)
    yield GaugeMetricFamily(
        "signalbox_kept_messages",
        "Messages of events that no run has waited for, younger than EVENT_KEEP_DAYS.",
        value=kept.filter(created_at__gt=oldest_kept()).count(),
    )


def _runs() -> Iterator[GaugeMetricFamily]:
    runs = GaugeMetricFamily(
        "signalbox_runs", "Runs there are, by status.", labels=["status"]
    )
    counts = dict(Run.objects.order_by().values_list("status").annotate(Count("pk")))
    for status in Status:
        runs.add_metric([status.value], counts.get(status.value, 0))
    yield runs


def _deliveries(now: dt.datetime) -> Iterator[GaugeMetricFamily]:
    pending = Delivery.objects.filter(status=DeliveryStatus.PENDING).order_by()
    found = pending.aggregate(count=Count("pk"), since=Min("created_at"))
    new = OutboxEvent.objects.filter(expanded_at=None).order_by()
    events = new.aggregate(count=Count("pk"), since=Min("created_at"))
    times = [one for one in (found["since"], events["since"]) if one is not None]
    age = (now - min(times)).total_seconds() if times else 0
    yield GaugeMetricFamily(
        "signalbox_deliveries_pending",
        "Messages to destinations, and events without messages yet, that wait.",
        value=found["count"] + events["count"],
    )
    yield GaugeMetricFamily(
        "signalbox_delivery_oldest_age_seconds",
        "Seconds that the oldest of them has waited.",
        value=max(age, 0),
    )
    states = GaugeMetricFamily(
        "signalbox_destinations", "Webhook destinations, by state.", labels=["state"]
    )
    rows = Destination.objects.exclude(kind=DestinationKind.PERSONAL)
    counts = Counter(one.state for one in rows)
    for state in DestinationState:
        states.add_metric([state.value], counts[state])
    yield states


# A separate registry: workers export their own metrics without a database query.
_installation = CollectorRegistry(auto_describe=False)
_installation.register(InstallationCollector())
