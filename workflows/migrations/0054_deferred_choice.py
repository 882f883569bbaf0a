"""Approvals that are withdrawn because something else came first say so."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a column whose default the database fills in for servers of the old version."""

    dependencies = [("workflows", "0053_forks")]

    operations = [
        migrations.AddField(
            model_name="approval",
            name="withdrawn_reason",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
