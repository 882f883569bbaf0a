"""Invitations: links with which people create their own account."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Invitation(models.Model):
    """An invitation of an administrator, which one person may accept once.

    Only a digest of the secret in its link is stored.
    """

    email = models.EmailField(
        "e-mail address", blank=True, help_text="Of whom it is for; may be empty."
    )
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the secret, hex
    groups = models.ManyToManyField(Group, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        default_permissions = ()  # who may add accounts may invite

    def __str__(self) -> str:
        """Return whom it is for."""
        return self.email or f"invitation {self.pk}"

    @staticmethod
    def usable() -> Q:
        """Return the condition of invitations that can be accepted now."""
        return Q(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now())
