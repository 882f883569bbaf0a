"""Child runs that a step launches for the elements of a list."""

import django.db.models.deletion
import workflows.models.exact_json
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds two tables."""

    dependencies = [
        ("workflows", "0044_events"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ChildGroup",
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
                ("sequence", models.PositiveIntegerField()),
                ("workflow_name", models.CharField(max_length=100)),
                ("total", models.PositiveIntegerField()),
                ("limit", models.PositiveIntegerField()),
                ("need", models.PositiveIntegerField(null=True)),
                ("fail_fast", models.BooleanField(default=False)),
                ("is_decided", models.BooleanField(default=False)),
                (
                    "traceparent",
                    models.CharField(blank=True, default="", max_length=55),
                ),
                ("resume_reason", models.TextField(blank=True, default="")),
                (
                    "parent",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="child_groups",
                        to="workflows.run",
                    ),
                ),
                (
                    "resumed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ChildItem",
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
                ("position", models.PositiveIntegerField()),
                ("params", workflows.models.exact_json.ExactJSONField(default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("launched", "Launched"),
                            ("resume", "To be resumed"),
                            ("withdrawn", "Not launched"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                (
                    "child",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="child_item",
                        to="workflows.run",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="workflows.childgroup",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="childgroup",
            constraint=models.UniqueConstraint(
                fields=("parent", "sequence"), name="child_group_once"
            ),
        ),
        migrations.AddIndex(
            model_name="childitem",
            index=models.Index(
                condition=models.Q(("status__in", ["waiting", "resume"])),
                fields=["group", "position"],
                name="child_item_next",
            ),
        ),
        migrations.AddConstraint(
            model_name="childitem",
            constraint=models.UniqueConstraint(
                fields=("group", "position"), name="child_item_once"
            ),
        ),
    ]
