"""Django admin, for operators: everything to be read, and what is set up to be edited.

Runs are cancelled and resumed here too, many at once; like every page it goes through
System, so that each change has its reason and its audit row.
"""

from django.contrib import admin

from workflows import __version__
from workflows.admin import (
    agents,
    documents,
    history,
    lockouts,
    operations,
    permissions,
    retention,
    runs,
)

__all__ = [
    "agents",
    "documents",
    "history",
    "lockouts",
    "operations",
    "permissions",
    "retention",
    "runs",
]

admin.site.site_header = "Signalbox administration"
admin.site.site_title = "Signalbox"
admin.site.index_title = f"Administration · Signalbox {__version__}"
