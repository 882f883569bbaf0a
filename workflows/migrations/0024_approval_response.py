"""Columns of a response are named by the term of the glossary."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("workflows", "0023_suspects")]

    operations = [
        migrations.RenameField("approval", "answer", "response"),
        migrations.RenameField("approval", "answered_by", "responded_by"),
        migrations.RenameField("approval", "answered_at", "responded_at"),
    ]
