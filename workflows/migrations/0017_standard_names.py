"""Rename models, fields, indexes and permissions to the terms of docs/glossary.md.

Nothing that is sealed changes: seals cover values and fixed texts (workflows/audit/seals.py),
not the names of tables and columns. Content types are renamed by Django itself, with
RenameModel; permissions are renamed here, so that roles and users keep them.
"""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.state import StateApps

VERBS = ("view", "add", "change", "delete")
# model name and verbose name: before, after
RENAMED = (
    ("intervention", "intervention", "auditevent", "audit event"),
    ("workflowright", "right by workflow", "workflowpermission", "workflow permission"),
    ("removedrun", "removed run", "removedrun", "deleted run"),
    ("bulkjob", "bulk job", "bulkjob", "bulk operation"),
)


def _rename_permission(apps: StateApps, old: str, new: str, name: str) -> None:
    permissions = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="workflows"
    )
    if old != new and permissions.filter(codename=new).exists():
        return  # created by a newer release that was migrated back
    permissions.filter(codename=old).update(codename=new, name=name)


def rename_permissions(apps: StateApps, _editor: object) -> None:
    """Rename the permissions on renamed models; groups and users keep their rows."""
    for old, _, new, title in RENAMED:
        for verb in VERBS:
            name = f"Can {verb} {title}"
            _rename_permission(apps, f"{verb}_{old}", f"{verb}_{new}", name)


def restore_permissions(apps: StateApps, _editor: object) -> None:
    """Restore the previous names."""
    for old, title, new, _ in RENAMED:
        for verb in VERBS:
            name = f"Can {verb} {title}"
            _rename_permission(apps, f"{verb}_{new}", f"{verb}_{old}", name)


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0016_cancelled_stages"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RenameModel("Intervention", "AuditEvent"),
        migrations.RenameModel("WorkflowRight", "WorkflowPermission"),
        migrations.RunPython(rename_permissions, restore_permissions),
        migrations.RenameField("run", "chain", "history_chain_head"),
        migrations.RenameField("run", "deeds", "audit_chain_head"),
        migrations.RenameField("run", "is_golden", "is_pinned"),
        migrations.RenameField("removedrun", "chain", "history_chain_head"),
        migrations.RenameField("removedrun", "deeds", "audit_chain_head"),
        migrations.RenameField("bulkjob", "deed", "action"),
        migrations.RenameField("bulkitem", "was", "status_before"),
        migrations.RenameField("tally", "seen", "newest_rows"),
        migrations.RenameIndex(
            "auditevent", old_name="deed_by_actor", new_name="audit_event_by_actor"
        ),
        migrations.RenameIndex(
            "auditevent", old_name="deed_by_action", new_name="audit_event_by_action"
        ),
        migrations.RenameIndex(
            "auditevent",
            old_name="deed_by_workflow",
            new_name="audit_event_by_workflow",
        ),
        migrations.AlterModelOptions(
            name="auditevent",
            options={
                "ordering": ["-id"],
                "verbose_name": "audit event",
                "verbose_name_plural": "audit log",
            },
        ),
        migrations.AlterModelOptions(
            name="bulkjob",
            options={"ordering": ["-id"], "verbose_name": "bulk operation"},
        ),
        migrations.AlterModelOptions(
            name="removedrun",
            options={"ordering": ["-removed_at"], "verbose_name": "deleted run"},
        ),
        migrations.AlterModelOptions(
            name="workflowpermission",
            options={
                "ordering": ["workflow_name", "group__name"],
                "verbose_name": "workflow permission",
                "verbose_name_plural": "workflow permissions",
            },
        ),
        migrations.RemoveConstraint(
            model_name="workflowpermission",
            name="right_once_per_group",
        ),
        migrations.RemoveConstraint(
            model_name="workflowpermission",
            name="right_once_for_everyone",
        ),
        migrations.RemoveConstraint(
            model_name="workflowpermission",
            name="right_includes_seeing",
        ),
        migrations.AlterField(
            model_name="approval",
            name="kind",
            field=models.CharField(
                choices=[("node", "Node"), ("budget", "Budget")],
                default="node",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(
                blank=True,
                choices=[
                    ("completed", "Completed"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("waiting", "Waiting"),
                    ("released", "Released"),
                    ("lost", "Worker lost"),
                ],
                default="",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="audit_events",
                to="workflows.run",
            ),
        ),
        migrations.AlterField(
            model_name="budget",
            name="scope",
            field=models.CharField(
                choices=[
                    ("run", "Per run"),
                    ("workflow", "Per workflow (lifetime)"),
                    ("day", "Per day"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="bulkitem",
            name="result",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "Pending"),
                    ("done", "Succeeded"),
                    ("refused", "Skipped"),
                ],
                default="",
                max_length=7,
            ),
        ),
        migrations.AlterField(
            model_name="checkpoint",
            name="kind",
            field=models.CharField(
                choices=[("full", "Full state"), ("delta", "Patch")], max_length=5
            ),
        ),
        migrations.AlterField(
            model_name="provider",
            name="kind",
            field=models.CharField(
                choices=[
                    ("openai", "OpenAI-compatible"),
                    ("ollama", "Ollama"),
                    ("azure", "Azure OpenAI"),
                ],
                default="openai",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="retention",
            name="decision_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Deletes steps and decisions. The audit log is kept. Empty: never.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(36500),
                ],
                verbose_name="delete history after (days)",
            ),
        ),
        migrations.AlterField(
            model_name="retention",
            name="payload_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Deletes parameters, results, states, decision values and logs. Empty: never.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(36500),
                ],
                verbose_name="delete data after (days)",
            ),
        ),
        migrations.AlterField(
            model_name="retention",
            name="run_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Deletes the run. Its steps and decisions are kept. Empty: never.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(36500),
                ],
                verbose_name="delete run after (days)",
            ),
        ),
        migrations.AlterField(
            model_name="retention",
            name="workflow_name",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Empty: all workflows without their own rule.",
                max_length=100,
                unique=True,
                verbose_name="workflow",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="waiting_for",
            field=models.CharField(
                blank=True,
                choices=[
                    ("approval", "approval"),
                    ("wait", "timer"),
                    ("subworkflow", "sub-workflow"),
                ],
                default="",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="group",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: all users.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="workflow_permissions",
                to="auth.group",
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="may_approve",
            field=models.BooleanField(
                default=False,
                help_text="Respond to approvals; those limited to groups only as a member.",
                verbose_name="approve",
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="may_launch",
            field=models.BooleanField(
                default=False,
                help_text="Launch runs, with their sub-workflows.",
                verbose_name="launch",
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="may_read",
            field=models.BooleanField(
                default=False,
                help_text="Parameters, results, states, reasons, errors and logs. Once one group has this, everyone else sees only the structure and times of runs.",
                verbose_name="view data",
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="may_see",
            field=models.BooleanField(
                default=True,
                help_text="Runs, their steps and times. Included in launch, operate and approve.",
                verbose_name="view",
            ),
        ),
        migrations.AlterField(
            model_name="workflowpermission",
            name="workflow_name",
            field=models.CharField(
                help_text="The name in URLs, such as classify-document. The workflow does not have to be installed.",
                max_length=100,
                verbose_name="workflow",
            ),
        ),
        migrations.AddConstraint(
            model_name="workflowpermission",
            constraint=models.UniqueConstraint(
                fields=("workflow_name", "group"),
                name="permission_once_per_group",
                violation_error_message="This group already has permissions for this workflow. Edit those.",
            ),
        ),
        migrations.AddConstraint(
            model_name="workflowpermission",
            constraint=models.UniqueConstraint(
                condition=models.Q(("group", None)),
                fields=("workflow_name",),
                name="permission_once_for_everyone",
                violation_error_message="All users already have permissions for this workflow. Edit those.",
            ),
        ),
        migrations.AddConstraint(
            model_name="workflowpermission",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("may_see", True),
                    models.Q(
                        ("may_approve", False),
                        ("may_launch", False),
                        ("may_operate", False),
                    ),
                    _connector="OR",
                ),
                name="permission_includes_view",
                violation_error_message="Launch, operate and approve require “view”.",
            ),
        ),
    ]
