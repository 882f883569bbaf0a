"""Measurements of a running installation: its processes, its database, its Redis.

They are taken on one thread, which also ages the runs that have ended: the rules of
retention count days, and a soak test has an hour.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import httpx
import psutil
from django.conf import settings
from django.db import connection
from django.db.models import Count, F
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from bench.gauges import loop_ms
from bench.soak.growth import Point
from bench.soak.installation import METRICS_TOKEN, RULE_DAYS, Installation
from workflows.models import ENDED, Decision, Run, Stage, Status, Tally

KEPT: Final = dt.timedelta(minutes=2)  # that a run remains after its end
PURGE_SECONDS: Final = 30.0  # between two purges
LATEST: Final = dt.timedelta(minutes=5)  # in which a run that is read has ended
PG_CONNECTIONS: Final = """
    SELECT count(*), pg_database_size(current_database()) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

Series = dict[tuple[str, str], list[Point]]
Value = tuple[str, str, float]  # subject, metric, value


class Sampler:
    """A thread that measures until it is stopped; its series are by subject and metric."""

    def __init__(self, installation: Installation, every: float) -> None:
        """`every` is the time between two samples, in seconds."""
        self.series: Series = defaultdict(list)
        self.error: Exception | None = None
        self._installation = installation
        self._every = every
        self._began = time.monotonic()
        self._next_purge = 0.0
        self._measured: set[Any] = set()  # runs whose latency is in the series
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def start(self) -> None:
        """Start to measure."""
        self._thread.start()

    def stop(self) -> None:
        """Measure no more. Raises what ended the thread."""
        self._stopping.set()
        self._thread.join()
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._every):
                self._sample()
        except Exception as error:  # raised by `stop`
            self.error = error
        finally:
            connection.close()

    def _sample(self) -> None:
        now = time.monotonic() - self._began
        for subject, metric, value in self._values():
            self.series[subject, metric].append((now, value))
        for run_id, seconds in latencies():
            if run_id not in self._measured:
                self._measured.add(run_id)
                key = "runs", "launch to first node p95"
                self.series[key].append((now, seconds))
        if now >= self._next_purge:
            self._next_purge = now + PURGE_SECONDS
            age_runs()

    def _values(self) -> Iterator[Value]:
        for name, process in self._installation.processes.items():
            if process.poll() is None:
                yield from process_values(name, process.pid)
        for number, url in enumerate(self._installation.urls):
            yield from cache_values(f"web{number}", url)
        yield from database_values()
        if self._installation.redis_url:
            yield from redis_values(self._installation.redis_url)
        yield "machine", "fixed loop", loop_ms()


def process_values(name: str, pid: int) -> Iterator[Value]:
    """Yield what a process and its children use; nothing if it has just ended."""
    try:
        process = psutil.Process(pid)
        children = process.children(recursive=True)
        with process.oneshot():
            yield name, "memory", float(process.memory_info().rss)
            yield name, "open files", float(process.num_fds())
            yield name, "threads", float(process.num_threads())
        yield name, "TCP connections", float(len(process.net_connections("tcp")))
        yield name, "child processes", float(len(children))
        yield name, "memory of children", float(sum(map(_memory, children)))
    except psutil.NoSuchProcess:
        return  # its exit code is reported


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # the child has ended
        return 0


def cache_values(name: str, url: str) -> Iterator[Value]:
    """Yield the size of the page cache of a server; nothing if it does not answer."""
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    try:
        answer = httpx.get(f"{url}/metrics", headers=headers, timeout=10.0)
    except httpx.HTTPError:
        return  # the requests of people are counted, and the end of a process is reported
    for family in text_string_to_metric_families(answer.text):
        if family.name == "signalbox_page_cache_bytes":
            yield name, "page cache", family.samples[0].value


def database_values() -> Iterator[Value]:
    """Yield connections, size, rows and queues of the database."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(PG_CONNECTIONS)
            connections, size = cursor.fetchone()
        yield "database", "database connections", float(connections)
    else:
        size = Path(settings.DATABASES["default"]["NAME"]).stat().st_size
    yield "database", "database size", float(size)
    by_status = Run.objects.order_by().values_list("status").annotate(Count("pk"))
    counts: Mapping[str, int] = dict(by_status)
    for status in (Status.PENDING, Status.RUNNING, Status.WAITING):
        yield "queue", f"{status.value} runs", float(counts.get(status, 0))
    yield "database", "rows of runs", float(sum(counts.values()))
    yield "database", "rows of stages", float(Stage.objects.count())
    yield "database", "rows of decisions", float(Decision.objects.count())


def redis_values(url: str) -> Iterator[Value]:
    """Yield clients, memory and keys of Redis, this one included."""
    import redis  # noqa: PLC0415 - installations with SQLite have none

    with redis.Redis.from_url(url) as client:
        found: Any = client.info()  # of the synchronous client: a dictionary
        yield "Redis", "Redis clients", float(found["connected_clients"])
        yield "Redis", "Redis memory", float(found["used_memory"])
        yield "Redis", "Redis keys", float(cast("int", client.dbsize()))


def latencies() -> Iterator[tuple[Any, float]]:
    """Yield runs that completed lately, and the seconds from launch to their first node."""
    rows = Run.objects.filter(
        status=Status.COMPLETED,
        completed_at__gt=timezone.now() - LATEST,
        workflow_name__startswith="soak-",
        parent=None,
    ).values_list("pk", "created_at", "result")
    for run_id, created_at, result in rows:
        if result:  # not purged
            yield run_id, result["began"] - created_at.timestamp()


def age_runs() -> None:
    """Date the runs back that ended more than KEPT ago, so that workers purge them now."""
    now = timezone.now()
    days = dt.timedelta(days=RULE_DAYS)
    recent = Run.objects.filter(status__in=ENDED, completed_at__gt=now - days)
    recent.filter(completed_at__lt=now - KEPT).update(
        completed_at=F("completed_at") - days
    )
    Tally.objects.filter(name="retention").update(next_at=now)
