"""Documents, which workflows read, and the images of their pages."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.runs import new_run_id


class Document(models.Model):
    """An uploaded file; its content is in storage."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    name = models.CharField(max_length=255)  # as uploaded, for people; never a path
    file = models.FileField(upload_to="documents/", max_length=200)
    content_type = models.CharField(max_length=100)  # from the bytes, not the name
    size = models.PositiveBigIntegerField()  # bytes
    sha256 = models.CharField(max_length=64, unique=True)
    page_count = models.PositiveIntegerField(null=True)  # null when it has no pages
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # who had the same file, and uploaded it later
    holders = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    already_stored = False  # set on the row an upload of known content gives

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        """Return the name it was uploaded under."""
        return self.name


class DocumentUse(models.Model):
    """Runs of a workflow were given a document: then it is as open as their values."""

    document = models.ForeignKey(
        Document, on_delete=models.CASCADE, related_name="uses", db_index=False
    )
    workflow_name = models.CharField(max_length=100)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["document", "workflow_name"], name="document_use_once"
            )
        ]

    def __str__(self) -> str:
        """Return the document and the workflow."""
        return f"{self.document_id} for {self.workflow_name}"


class PageImage(models.Model):
    """One rendered page, stored so that each rendering is made once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    document = models.ForeignKey(
        Document, on_delete=models.CASCADE, related_name="images"
    )
    page = models.PositiveIntegerField()  # from 1
    options = models.CharField(max_length=200, default="")  # canonical: all of them
    file = models.FileField(upload_to="pages/", max_length=200)
    mime = models.CharField(max_length=50)
    width = models.PositiveIntegerField()  # pixels
    height = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["document", "page"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["document", "page", "options"], name="page_image_once"
            )
        ]

    def __str__(self) -> str:
        """Return the document and page it shows."""
        return f"{self.document_id} page {self.page}"
