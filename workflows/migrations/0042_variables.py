"""Variables and secrets; admins set them up, auditors see that they exist."""

import django.core.validators
import django.utils.timezone
from django.contrib.auth.management import create_permissions
from django.db import migrations, models
from django.db.migrations.state import StateApps

GIVEN = {
    "auditor": ["view_variable"],
    "admin": [f"{verb}_variable" for verb in ("view", "add", "change", "delete")],
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
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
