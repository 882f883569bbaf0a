from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def fill(apps: Any, _schema_editor: Any) -> None:
    """Give each decision the name of its run's workflow."""
    decisions = apps.get_model("workflows", "Decision").objects.filter(workflow_name="")
    run = apps.get_model("workflows", "Run").objects.filter(pk=OuterRef("run_id"))
    decisions.update(workflow_name=Subquery(run.values("workflow_name")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0003_history_indexes"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
