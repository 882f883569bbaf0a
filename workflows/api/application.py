"""The API application: routers, authentication, errors and the OpenAPI document."""

from __future__ import annotations

from typing import Final

from workflows.api import problems
from workflows.api.auth import SessionAuth, TokenAuth
from workflows.api.openapi import DocumentedApi
from workflows.api.routes import (
    alerts,
    approvals,
    batches,
    bulk,
    destinations,
    documents,
    events,
    exports,
    files,
    history,
    live,
    notifications,
    operations,
    pauses,
    reference,
    relations,
    reviews,
    runs,
    schedules,
    settings,
    usage,
    variables,
    webhooks,
    what_if,
    workflows,
)

VERSION: Final = "1.0.0"
DESCRIPTION: Final = """\
Launch, watch and operate runs of workflows, respond to approvals, read the decision history.

Authenticate with an API token: `Authorization: Bearer sbx_…`. A browser session works too;
then unsafe methods need the header `X-CSRFToken`. Errors are problem details (RFC 9457).
Lists are pages: pass `next` as `cursor`. Times are ISO 8601 in UTC.
"""


api = DocumentedApi(
    title="Signalbox",
    version=VERSION,
    description=DESCRIPTION,
    urls_namespace="api",
    docs_url=None,
    openapi_url=None,  # routes/reference.py, for authenticated clients
    auth=[TokenAuth(), SessionAuth()],
)
problems.install(api)
api.add_router("/workflows", workflows.router)
api.add_router("/runs", runs.router)
api.add_router("/runs", history.router)
api.add_router("/runs", live.runs_router)
api.add_router("/approvals", live.approvals_router)
api.add_router("/pauses", live.pauses_router)
api.add_router("/pauses", pauses.router)
api.add_router("/runs", approvals.of_run_router)
api.add_router("/decisions", history.decisions_router)
api.add_router("/approvals", approvals.router)
api.add_router("/events", events.router)
api.add_router("/runs", events.of_run_router)
api.add_router("/runs", relations.router)
api.add_router("/runs", files.router)
api.add_router("/runs", reviews.of_run_router)
api.add_router("/golden-runs", reviews.golden_router)
api.add_router("/workflows", reviews.of_workflow_router)
api.add_router("/runs", exports.bundle_router)
api.add_router("/compare", relations.compare_router)
api.add_router("/documents", documents.router)
api.add_router("/bulk-actions", bulk.router)
api.add_router("/exports", exports.router)
api.add_router("/exports", usage.export_router)
api.add_router("/usage", usage.router)
api.add_router("/schedules", schedules.router)
api.add_router("/workflows", schedules.of_workflow_router)
api.add_router("/webhooks", webhooks.router)
api.add_router("/workflows", batches.router)
api.add_router("/workflows", what_if.router)
api.add_router("/workflows", webhooks.of_workflow_router)
api.add_router("/destinations", destinations.router)
api.add_router("/agents", settings.agents_router)
api.add_router("/workflows", settings.profiles_router)
api.add_router("/views", settings.views_router)
api.add_router("/alerts", alerts.router)
api.add_router("/workflows", alerts.of_workflow_router)
api.add_router("/notifications", notifications.router)
api.add_router("/subscriptions", notifications.subscriptions_router)
api.add_router("/variables", variables.router)
api.add_router("/workers", operations.workers_router)
api.add_router("/audit", operations.audit_router)
api.add_router("", reference.router)
