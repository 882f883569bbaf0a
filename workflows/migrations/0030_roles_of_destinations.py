"""Admins set up webhook destinations; auditors see them and their deliveries."""

from django.db import migrations

from workflows.migrations._role_permissions import grant

SEEN = [
    f"view_{name}"
    for name in ("destination", "delivery", "deliveryattempt", "outboxevent")
]
GRANTED = {
    "auditor": SEEN,
    "admin": [
        *SEEN,
        *(f"{verb}_destination" for verb in ("add", "change", "delete")),
    ],
}


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0029_outbox"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        grant(GRANTED),
    ]
