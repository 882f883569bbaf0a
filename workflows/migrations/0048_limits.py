"""Limits of workflows: the key of each run, the checks and the starts of keys."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CONTINUES = models.Q(("attempt__gt", 0), ("closing__isnull", False), _connector="OR")


def keep_triggers(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Do nothing: the triggers are created after the migrations."""


def drop_triggers(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the triggers that read the key; on SQLite, all were dropped before."""
    if editor.connection.vendor == "postgresql":
        for name in ("run_limited", "run_left_worker"):
            editor.execute(
                f"DROP TRIGGER IF EXISTS signalbox_outbox_{name} ON workflows_run"
            )


class Migration(migrations.Migration):
    """Adds two tables, a column and indexes; leaves runs with limits out of the queue's."""

    dependencies = [("workflows", "0047_callbacks")]

    operations = [
        migrations.CreateModel(
            name="LimitCheck",
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
                ("workflow_name", models.CharField(max_length=100)),
                ("limit_key", models.CharField(max_length=200)),
                ("due_at", models.FloatField()),
            ],
        ),
        migrations.CreateModel(
            name="LimitStart",
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
                ("workflow_name", models.CharField(max_length=100)),
                ("limit_key", models.CharField(max_length=200)),
                ("started_at", models.DateTimeField()),
                ("run_id", models.UUIDField()),
            ],
        ),
        migrations.RemoveIndex(
            model_name="run",
            name="run_pending",
        ),
        migrations.RemoveIndex(
            model_name="run",
            name="run_pending_continues",
        ),
        migrations.AddField(
            model_name="run",
            name="limit_key",
            field=models.CharField(max_length=200, null=True),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("limit_key", None), ("status", "pending")),
                fields=["workflow_name", "-priority", "id"],
                name="run_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(
                    CONTINUES, ("limit_key", None), ("status", "pending")
                ),
                fields=["workflow_name", "-priority", "id"],
                name="run_pending_continues",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("limit_key__isnull", False), ("status", "pending")),
                fields=["workflow_name", "limit_key", "-priority", "id"],
                name="run_limited_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(
                    CONTINUES, ("limit_key__isnull", False), ("status", "pending")
                ),
                fields=["workflow_name", "limit_key", "-priority", "id"],
                name="run_limited_continues",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("limit_key__isnull", False), ("status", "running")),
                fields=["workflow_name", "limit_key"],
                name="run_limited_running",
            ),
        ),
        migrations.AddIndex(
            model_name="limitcheck",
            index=models.Index(fields=["due_at", "id"], name="limit_check_due"),
        ),
        migrations.AddIndex(
            model_name="limitcheck",
            index=models.Index(
                fields=["workflow_name", "limit_key"], name="limit_check_by_key"
            ),
        ),
        migrations.AddIndex(
            model_name="limitstart",
            index=models.Index(
                fields=["workflow_name", "limit_key", "started_at"],
                name="limit_start_by_key",
            ),
        ),
        migrations.AddIndex(
            model_name="limitstart",
            index=models.Index(fields=["started_at"], name="limit_start_by_age"),
        ),
        migrations.RunPython(keep_triggers, drop_triggers),
    ]
