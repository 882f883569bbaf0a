"""Bulk operations are cancelled, as runs are; approvals have responses, not answers."""

from django.db import migrations
from django.db.migrations.state import StateApps

BEFORE, AFTER = "Can answer questions of runs", "Can respond to approvals of runs"


def _name(apps: StateApps, to: str) -> None:
    permissions = apps.get_model("auth", "Permission").objects
    permissions.filter(
        content_type__app_label="workflows", codename="approve_run"
    ).update(name=to)


def name_responses(apps: StateApps, _editor: object) -> None:
    """Name the permission, which Django does not rename."""
    _name(apps, AFTER)


def name_answers(apps: StateApps, _editor: object) -> None:
    """Restore the name of the permission."""
    _name(apps, BEFORE)


class Migration(migrations.Migration):
    """Renames a column; processes that still run the earlier version cannot read jobs."""

    dependencies = [
        ("workflows", "0038_alerts"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RenameField(
            model_name="bulkjob", old_name="stopped_at", new_name="cancelled_at"
        ),
        migrations.AlterModelOptions(
            name="run",
            options={
                "ordering": ["-id"],
                "permissions": [
                    ("launch_run", "Can launch runs"),
                    ("operate_run", "Can cancel, resume, label and delete runs"),
                    ("approve_run", AFTER),
                    ("audit_run", "Can see the runs of every workflow"),
                    (
                        "administer_run",
                        "Can do everything with the runs of every workflow",
                    ),
                ],
            },
        ),
        migrations.RunPython(name_responses, name_answers),
    ]
