"""API tokens and the service accounts that may own them."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

MAX_TOKEN_NAME_LENGTH: Final = 60  # characters


class TokenScope(models.TextChoices):
    """What a token may do of what its owner may do."""

    READ = "read", "Read: runs with their data, decisions, documents"
    LAUNCH = "launch", "Launch: runs, uploads, schedules"
    OPERATE = "operate", "Operate: cancel, resume, rerun, label, pin, delete"
    APPROVE = "approve", "Approve: respond to approvals (includes Read)"
    ADMIN = "admin", "Admin: everything that its owner may do"


class ServiceAccount(models.Model):
    """Marks an account that belongs to a program and cannot sign in."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="service_account",
    )
    description = models.CharField(max_length=200, blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "service account"
        ordering: ClassVar = ["user__username"]

    def __str__(self) -> str:
        """Return the name of the account."""
        return self.user.get_username()


class ApiToken(models.Model):
    """A secret with which a program acts as its owner, within scopes.

    Only the SHA-256 digest of the secret is stored: 32 random bytes cannot be guessed, so
    that a slow hash would protect nothing.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=MAX_TOKEN_NAME_LENGTH)
    hint = models.CharField(max_length=12)  # the first characters of the secret
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hexadecimal
    scopes = models.JSONField(default=list)  # values of TokenScope
    workflows = models.JSONField(default=list)  # names; [] = all
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    last_used_at = models.DateTimeField(null=True)  # to the minute
    last_used_address = models.CharField(max_length=45, blank=True, default="")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "API token"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=Q(revoked_at=None),
                name="token_name_once_per_owner",
            )
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    @property
    def is_expired(self) -> bool:
        """Return whether the token has expired."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        """Return whether requests with the token are accepted, if its owner is active."""
        return self.revoked_at is None and not self.is_expired
