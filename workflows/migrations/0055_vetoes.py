"""Votes that one response can end."""

from django.db import migrations

from workflows.models.exact_json import ExactJSONField


class Migration(migrations.Migration):
    """Adds a column that is null for approvals of the old version."""

    dependencies = [("workflows", "0054_deferred_choice")]

    operations = [
        migrations.AddField(
            model_name="approval", name="veto", field=ExactJSONField(null=True)
        ),
    ]
