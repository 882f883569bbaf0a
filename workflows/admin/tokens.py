"""API tokens and service accounts, read-only: their page creates and revokes them."""

from __future__ import annotations

from django.contrib import admin

from workflows.admin.read_only import ReadOnlyAdmin
from workflows.models import ApiToken, ServiceAccount


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """API tokens of all accounts, also revoked ones; without their digests."""

    list_display = (
        *("name", "owner", "hint", "scopes", "workflows"),
        *("last_used_at", "expires_at", "revoked_at"),
    )
    list_select_related = ("owner",)
    list_filter = ("revoked_at", "expires_at")
    search_fields = ("name", "owner__username", "hint")
    ordering = ("-id",)
    exclude = ("digest",)


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ReadOnlyAdmin):
    """Accounts of programs."""

    list_display = ("user", "description", "created_by", "created_at")
    list_select_related = ("user", "created_by")
    search_fields = ("user__username", "description")
    ordering = ("user__username",)
