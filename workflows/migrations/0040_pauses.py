"""Paused workflows, and the index of their pending runs that continue."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a table and a partial index, of which few runs are part."""

    dependencies = [("workflows", "0039_cancelled_jobs")]

    operations = [
        migrations.CreateModel(
            name="WorkflowPause",
            fields=[
                (
                    "workflow_name",
                    models.CharField(max_length=100, primary_key=True, serialize=False),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("paused_by_name", models.CharField(max_length=150)),
                ("paused_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "paused workflow",
                "ordering": ["workflow_name"],
            },
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(
                    models.Q(
                        ("attempt__gt", 0),
                        ("closing__isnull", False),
                        _connector="OR",
                    ),
                    ("status", "pending"),
                ),
                fields=["workflow_name", "-priority", "id"],
                name="run_pending_continues",
            ),
        ),
    ]
