"""Django admin for operators: history is read-only, configuration can be edited.

Bulk actions on runs use System, like pages, so that each has a reason and audit events.
"""

from django.contrib import admin

from workflows import __version__
from workflows.admin import (
    agents,
    alerts,
    destinations,
    documents,
    events,
    history,
    lockouts,
    operations,
    pauses,
    permissions,
    retention,
    runs,
    schedules,
    sign_in,
    tokens,
    variables,
    webhooks,
)

__all__ = [
    "agents",
    "alerts",
    "destinations",
    "documents",
    "events",
    "history",
    "lockouts",
    "operations",
    "pauses",
    "permissions",
    "retention",
    "runs",
    "schedules",
    "sign_in",
    "tokens",
    "variables",
    "webhooks",
]

admin.site.site_header = "Signalbox administration"
admin.site.site_title = "Signalbox"
admin.site.index_title = f"Administration · Signalbox {__version__}"
