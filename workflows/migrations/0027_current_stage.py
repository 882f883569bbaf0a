"""The stage in progress moves into the run's row; `Stage` gets a row when it ends.

Rows of stages that an older release began stay as they are: their end updates them. Since
rows of stages are hardly updated any more, PostgreSQL fills their pages again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import migrations

import workflows.models.exact_json

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def fill_pages(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE workflows_stage RESET (fillfactor)")


def leave_room(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE workflows_stage SET (fillfactor = 80)")


class Migration(migrations.Migration):
    dependencies = [("workflows", "0026_schedules")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="current_stage",
            field=workflows.models.exact_json.ExactJSONField(null=True),
        ),
        migrations.RunPython(fill_pages, leave_room),
    ]
