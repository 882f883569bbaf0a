"""Params, results, answers and profiles are stored as text on PostgreSQL: exact as on SQLite."""

from typing import Any

from django.db import migrations

import workflows.models.exact_json as exact

# Queries into these go on by an index: of the text, read as JSON.
INDEXED = {"run_params": "params", "run_result": "result"}


COLUMNS = {
    "workflows_run": ("params", "result", "profile_stages"),
    "workflows_approval": ("form", "evidence", "on_expiry", "answer"),
    "workflows_profile": ("stages",),
}


def to_text(_apps: Any, schema_editor: Any) -> None:
    _change(schema_editor, "text", "gin ((params::jsonb) jsonb_path_ops)")


def to_jsonb(_apps: Any, schema_editor: Any) -> None:
    _change(schema_editor, "jsonb", "gin (params jsonb_path_ops)")


def _change(schema_editor: Any, kind: str, index: str) -> None:
    """Write each table once, whatever the number of its columns; SQLite has text already."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for name in INDEXED:
        schema_editor.execute(f"DROP INDEX IF EXISTS {name}")
    for table, columns in COLUMNS.items():
        changes = ", ".join(
            f"ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}" for name in columns
        )
        schema_editor.execute(f"ALTER TABLE {table} {changes}")
    for name, column in INDEXED.items():
        on = index.replace("params", column)
        schema_editor.execute(f"CREATE INDEX {name} ON workflows_run USING {on}")


def _exact(model: str, name: str, **options: Any) -> migrations.AlterField:
    return migrations.AlterField(model, name, exact.ExactJSONField(**options))


class Migration(migrations.Migration):
    dependencies = [("workflows", "0014_stage_waits_for_thread")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(to_text, to_jsonb)],
            state_operations=[
                _exact("run", "params", default=dict),
                _exact("run", "result", null=True),
                _exact("run", "profile_stages", default=dict),
                _exact("approval", "form", default=dict),
                _exact("approval", "evidence", default=dict),
                _exact("approval", "on_expiry", null=True),
                _exact("approval", "answer", null=True),
                _exact("profile", "stages", blank=True, default=dict),
            ],
        ),
    ]
