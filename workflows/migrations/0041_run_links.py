"""Runs that a step of another run launched, and runs that continue another one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a table."""

    dependencies = [("workflows", "0040_pauses")]

    operations = [
        migrations.CreateModel(
            name="RunLink",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="link",
                        serialize=False,
                        to="workflows.run",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("launch", "Launched by"), ("continue", "Continues")],
                        max_length=10,
                    ),
                ),
                ("sequence", models.PositiveIntegerField()),
                (
                    "origin",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="links",
                        to="workflows.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=["origin", "sequence", "kind"], name="run_link_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(kind__in=["launch", "continue"]),
                        name="run_link_kind_known",
                    ),
                ],
            },
        ),
    ]
