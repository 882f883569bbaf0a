"""Columns of permissions are named can_*, as the functions that check them."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workflows", "0019_key_origins")]

    operations = [
        migrations.RemoveConstraint("workflowpermission", "permission_includes_view"),
        migrations.RenameField("workflowpermission", "may_see", "can_view"),
        *(
            migrations.RenameField("workflowpermission", f"may_{verb}", f"can_{verb}")
            for verb in ("launch", "operate", "approve", "read")
        ),
        migrations.AddConstraint(
            "workflowpermission",
            models.CheckConstraint(
                condition=models.Q(can_view=True)
                | models.Q(can_launch=False, can_operate=False, can_approve=False),
                name="permission_includes_view",
                violation_error_message="Launch, operate and approve require “view”.",
            ),
        ),
    ]
