from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import migrations, models


def pause_chats(apps: Any, _schema_editor: Any) -> None:
    """Keep chats, which earlier releases do not know, as paused destinations."""
    rows = apps.get_model("workflows", "Destination").objects.filter(kind="chat")
    rows.update(
        kind="webhook",
        paused_at=dt.datetime.now(dt.UTC),
        paused_by_name="system",
        pause_reason="Chats need a later release.",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0050_more_events"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="destination",
            name="destination_kind_known",
        ),
        migrations.AlterField(
            model_name="destination",
            name="kind",
            field=models.CharField(
                choices=[("webhook", "Webhook"), ("chat", "Chat"), ("mail", "Mail")],
                default="webhook",
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="destination",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["webhook", "chat", "mail"])),
                name="destination_kind_known",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, pause_chats),
    ]
