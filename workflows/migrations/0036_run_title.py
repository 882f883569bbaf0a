"""Titles of runs; earlier runs have none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the column, on PostgreSQL without rewriting the table."""

    dependencies = [("workflows", "0035_traceparent")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="title",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=200
            ),
        )
    ]
