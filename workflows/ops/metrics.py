"""`/metrics`: how much work there is, who does it, and how it goes, for Prometheus.

What is true of the whole installation is read from the database; what a process counts
itself (commits, claims) is told by that process. A worker of its own tells its counts at
METRICS_PORT. Whoever may not look gets the answer of an address that leads nowhere.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Min
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from workflows.access import permissions
from workflows.execution import workers
from workflows.infra import clock
from workflows.models import Run, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all figures. Raises Http404 for whoever may not see them."""
    if not _may_scrape(request):
        raise Http404
    text = generate_latest(_installation) + generate_latest(REGISTRY)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    """Tell whether this is Prometheus with its token, or one who may know of all runs."""
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        token = settings.METRICS_TOKEN.encode()
        return bool(token) and secrets.compare_digest(given.strip().encode(), token)
    return permissions.may_see_totals(request.user)


class Installation(Collector):
    """The figures that the database knows, read when they are asked for."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges, all as of one moment."""
        now = clock.now()
        yield from _workers(now)
        yield from _queue(now)
        yield from _runs()


def _workers(now: dt.datetime) -> Iterator[GaugeMetricFamily]:
    alive = list(workers.alive())
    yield GaugeMetricFamily(
        "signalbox_workers_alive",
        "Workers whose last sign of life is younger than a lease.",
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
        "Seconds since a worker's last sign of life.",
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
    for name, count, since in pending.values_list("workflow_name").annotate(
        Count("pk"), Min("updated_at")
    ):
        depth.add_metric([name], count)
        age.add_metric([name], max((now - since).total_seconds(), 0))
    yield from (depth, age)


def _runs() -> Iterator[GaugeMetricFamily]:
    runs = GaugeMetricFamily(
        "signalbox_runs", "Runs there are, by status.", labels=["status"]
    )
    counted = dict(Run.objects.order_by().values_list("status").annotate(Count("pk")))
    for status in Status:
        runs.add_metric([status.value], counted.get(status.value, 0))
    yield runs


# A registry of its own: workers show theirs without asking the database.
_installation = CollectorRegistry(auto_describe=False)
_installation.register(Installation())
