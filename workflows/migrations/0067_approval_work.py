"""Assignments, snoozes and reminders of approvals; their events."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds tables; nothing of an installed version reads them."""

    dependencies = [
        ("workflows", "0066_approval_claims"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="outboxevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("run.completed", "Run completed"),
                    ("run.failed", "Run failed"),
                    ("run.cancelled", "Run cancelled"),
                    ("approval.requested", "Approval requested"),
                    ("approval.answered", "Approval answered"),
                    ("approval.expired", "Approval expired"),
                    ("approval.reassigned", "Approval assigned"),
                    ("approval.reminded", "Reminder of an approval"),
                    ("schedule.missed", "Schedule launched nothing"),
                    ("event.sent", "Event sent"),
                    ("event.received", "Event received"),
                    ("event.expired", "Wait for an event expired"),
                    ("callback.received", "Callback received"),
                    ("callback.expired", "Callback expired"),
                    ("launch.refused", "Launch refused by a limit"),
                    ("workflow.paused", "Workflow paused"),
                    ("workflow.unpaused", "Workflow unpaused"),
                    ("alert.raised", "Alert raised"),
                    ("alert.cleared", "Alert cleared"),
                ],
                max_length=40,
            ),
        ),
        migrations.CreateModel(
            name="ApprovalAssignment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(max_length=150)),
                ("assigned_by_name", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "approval",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="assignment",
                        to="workflows.approval",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ApprovalReminder",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("person_name", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                (
                    "approval",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reminder",
                        to="workflows.approval",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ApprovalSnooze",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("until", models.DateTimeField()),
                (
                    "approval",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="snoozes",
                        to="workflows.approval",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("approval", "person"), name="snooze_once_per_person"
                    )
                ],
            },
        ),
    ]
