"""Admins set up webhook destinations; auditors see them and their deliveries."""

from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.migrations.state import StateApps

SEEN = [
    f"view_{name}"
    for name in ("destination", "delivery", "deliveryattempt", "outboxevent")
]
GIVEN = {
    "auditor": SEEN,
    "admin": [
        *SEEN,
        *(f"{verb}_destination" for verb in ("add", "change", "delete")),
    ],
}


def give(apps: StateApps, _editor: object) -> None:
    """Give the permissions to those of the roles that exist."""
    config = apps.get_app_config("workflows")
    config.models_module = True  # type: ignore[assignment] # any truth will do
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None
    permissions = apps.get_model("auth", "Permission").objects
    for role in apps.get_model("auth", "Group").objects.filter(name__in=GIVEN):
        ours = permissions.filter(content_type__app_label="workflows")
        role.permissions.add(*ours.filter(codename__in=GIVEN[role.name]))


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0029_outbox"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
