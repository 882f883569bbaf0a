"""Give stored bulk jobs the standard names of their actions; correct a help text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import StateApps

RENAMED = (("again", "rerun"), ("keep", "pin"))


def rename(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Store the new names. Sealed audit events keep theirs."""
    rows = apps.get_model("workflows", "BulkJob").objects
    for old, new in RENAMED:
        rows.filter(action=old).update(action=new)


def restore(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Store the old names."""
    rows = apps.get_model("workflows", "BulkJob").objects
    for old, new in RENAMED:
        rows.filter(action=new).update(action=old)


class Migration(migrations.Migration):
    dependencies = [("workflows", "0017_standard_names")]

    operations = [
        migrations.RunPython(rename, restore),
        migrations.AlterField(
            "retention",
            "run_days",
            models.PositiveIntegerField(
                blank=True,
                help_text="Deletes the run. Steps and decisions are kept. Empty: never.",
                null=True,
                validators=[
                    MinValueValidator(1),
                    MaxValueValidator(36500),
                ],
                verbose_name="delete run after (days)",
            ),
        ),
    ]
