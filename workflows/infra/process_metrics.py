"""Prometheus metrics of this process; `/metrics` exports them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from workflows.engine import threads

BATCH_RECORDS: Final = Histogram(
    "signalbox_batch_records",
    "Step records that were committed together.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
COMMIT_SECONDS: Final = Histogram(
    "signalbox_commit_seconds",
    "Seconds one batch took to become durable.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
CLAIMS: Final = Counter("signalbox_claims", "Runs this process took from the queue.")
LEASE_LOSSES: Final = Counter(
    "signalbox_lease_losses", "Runs this process held that another worker took over."
)
REWINDS: Final = Counter(
    "signalbox_rewinds",
    "Runs this process held that the database had rewound to an earlier step.",
)
RECOVERIES: Final = Counter(
    "signalbox_recoveries", "Runs of lost workers that this process recovered."
)
SUSPECTS: Final = Counter(
    "signalbox_suspects",
    "Runs that this process executed in child processes after their worker was lost.",
)
SUSPECT_DEATHS: Final = Counter(
    "signalbox_suspect_deaths",
    "Child processes that were ended by the run that they executed.",
)
BLOCKED_LOOPS: Final = Counter(
    "signalbox_blocked_loops",
    "Times that a node held this process's node loop for more than 250 ms, by node; without"
    " a node for other code that blocked it for 3 s.",
    ["node"],
)
BLOCKED_LOOP_SECONDS: Final = Counter(
    "signalbox_blocked_loop_seconds", "Seconds that node loops were blocked."
)
ABANDONED_LOOPS: Final = Counter(
    "signalbox_abandoned_loops",
    "Node loops that were replaced after BLOCKED_LOOP_SECONDS; each leaves a thread behind.",
)
DELIVERY_ATTEMPTS: Final = Counter(
    "signalbox_delivery_attempts",
    "Attempts of this process to deliver a message, by result: ok or failed.",
    ["result"],
)
LAUNCHES_REFUSED: Final = Counter(
    "signalbox_launches_refused",
    "Launches that this process refused because of the limits of their workflow.",
    ["workflow"],
)
EVENT_MESSAGES: Final = Counter(
    "signalbox_event_messages",
    "Messages of events: sent, and received by a run, once for each run.",
    ["outcome"],
)
CALLBACKS: Final = Counter(
    "signalbox_callback_requests",
    "Requests to addresses of callbacks: accepted, unknown (no such address), refused (used,"
    " over, or a body that does not fit).",
    ["outcome"],
)
BRANCH_STEPS: Final = Counter(
    "signalbox_branch_steps", "Steps of branches that ended, by status.", ["status"]
)
OUTAGES: Final = Counter(
    "signalbox_outages", "Outages of services that this process needs.", ["what"]
)
REFUSALS: Final = Counter(
    "signalbox_refused_requests",
    "Requests that this process refused before processing them.",
    ["reason"],
)
WEBHOOK_DELIVERIES: Final = Counter(
    "signalbox_webhook_deliveries",
    "Requests to addresses of incoming webhooks: launched, ignored, refused, repeated,"
    " rejected (invalid signature), unknown (no such address).",
    ["outcome"],
)
PAGE_CACHE_BYTES: Final = Gauge(
    "signalbox_page_cache_bytes",
    "Bytes of the rendered parts of pages that this process keeps; see PAGE_CACHE_BYTES.",
)
NODE_THREADS: Final = Gauge(
    "signalbox_node_threads",
    "Calls of sync nodes in this process: running, waiting for a thread, or abandoned:"
    " still running although their result is discarded.",
    ["state"],
)
NODE_THREADS.labels("running").set_function(lambda: threads.pool.counts.running)
NODE_THREADS.labels("waiting").set_function(lambda: threads.pool.counts.waiting)
NODE_THREADS.labels("abandoned").set_function(lambda: threads.pool.counts.abandoned)
