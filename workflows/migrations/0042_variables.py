"""Variables and secrets; admins set them up, auditors see that they exist."""

import django.core.validators
import django.utils.timezone
from django.db import migrations, models

from workflows.migrations._role_permissions import grant

GRANTED = {
    "auditor": ["view_variable"],
    "admin": [f"{verb}_variable" for verb in ("view", "add", "change", "delete")],
}


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0041_run_links"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Variable",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z_][A-Za-z0-9_]*\\Z",
                                "Use letters, digits and “_”; begin with a letter.",
                            )
                        ],
                    ),
                ),
                ("is_secret", models.BooleanField(default=False)),
                ("value", models.TextField(blank=True, default="")),
                ("secret", models.BinaryField(null=True)),
                (
                    "description",
                    models.CharField(blank=True, default="", max_length=200),
                ),
                ("workflows", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_secret", False), ("secret", None)),
                            models.Q(("is_secret", True), ("value", "")),
                            _connector="OR",
                        ),
                        name="variable_secret_is_encrypted",
                    )
                ],
            },
        ),
        grant(GRANTED),
    ]
