from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import migrations, models

KINDS = [
    ("webhook", "Webhook"),
    ("chat", "Chat"),
    ("mail", "Mail"),
    ("personal", "Personal chat"),
]


def pause_chats(apps: Any, _schema_editor: Any) -> None:
    """Keep the chats of people, which earlier releases do not know, without their addresses.

    As paused mail of the person they send nothing, and nobody sees them.
    """
    rows = apps.get_model("workflows", "Destination").objects.filter(kind="personal")
    rows.update(
        kind="mail",
        url="",
        secrets=None,
        paused_at=dt.datetime.now(dt.UTC),
        paused_by_name="system",
        pause_reason="Chats of people need a later release.",
    )


class Migration(migrations.Migration):
    """Adds the chats of people, and a column for which they are used."""

    dependencies = [
        ("workflows", "0064_demo_data"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="destination", name="destination_kind_known"
        ),
        migrations.AddField(
            model_name="subscription",
            name="chat",
            field=models.CharField(
                choices=[("none", "No message"), ("each", "A message for each")],
                db_default="none",
                default="none",
                max_length=5,
            ),
        ),
        migrations.AlterField(
            model_name="destination",
            name="kind",
            field=models.CharField(choices=KINDS, default="webhook", max_length=8),
        ),
        migrations.AddConstraint(
            model_name="destination",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", [value for value, _ in KINDS])),
                name="destination_kind_known",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, pause_chats),
    ]
