"""Auditors see the rules of retention and what is left of runs; admins make the rules."""

from django.db import migrations

from workflows.migrations._role_permissions import grant

RULES = [f"{verb}_retention" for verb in ("view", "add", "change", "delete")]
GRANTED = {
    "auditor": ["view_retention", "view_removedrun"],
    "admin": [*RULES, "view_removedrun"],
}


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0011_retention"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        grant(GRANTED),
    ]
