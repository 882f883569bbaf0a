"""The roles as groups, and which documents the runs so far were given."""

import json
import re
from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps

from workflows.migrations._role_permissions import create_permission_rows

LAUNCH = ("view_run", "launch_run", "view_document", "add_document")
OPERATE = (*LAUNCH, "operate_run", "approve_run", "view_worker")
SET_UP = (
    *("provider", "agent", "price", "profile", "budget"),
    *("workflowright", "document", "retention", "user", "group"),
)
ROLES = {  # as workflows/access/roles.py had them; later migrations add to them
    "viewer": ("view_run",),
    "launcher": LAUNCH,
    "operator": OPERATE,
    "auditor": ("view_*", "audit_run"),
    "admin": (
        "view_*",
        *OPERATE,
        "administer_run",
        *(f"{verb}_{name}" for name in SET_UP for verb in ("add", "change", "delete")),
        *("view_user", "view_group"),
    ),
}
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CHUNK = 2_000


def make_roles(apps: StateApps, _editor: object) -> None:
    """Make the groups; permissions are otherwise made only after all migrations."""
    for label in ("auth", "workflows"):
        create_permission_rows(apps, label)
    permissions = apps.get_model("auth", "Permission").objects.select_related(
        "content_type"
    )
    ours = list(permissions.filter(content_type__app_label__in=("workflows", "auth")))
    for name in ROLES:
        role, is_new = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        if is_new:  # an existing group of that name keeps what it has
            role.permissions.set(one for one in ours if _is_granted(name, one))


def _is_granted(role: str, permission: Any) -> bool:
    codename, app = permission.codename, permission.content_type.app_label
    is_view = app == "workflows" and codename.startswith("view_")
    return codename in ROLES[role] or (is_view and "view_*" in ROLES[role])


def remove_roles(apps: StateApps, _editor: object) -> None:
    """Remove the groups of these names that have no members."""
    groups = apps.get_model("auth", "Group").objects.filter(name__in=ROLES)
    groups.filter(user=None).delete()


def find_uses(apps: StateApps, _editor: object) -> None:
    """Look for the ids of documents in the params of every run."""
    documents = {
        str(pk)
        for pk in apps.get_model("workflows", "Document").objects.values_list(
            "pk", flat=True
        )
    }
    if not documents:
        return
    found: set[tuple[str, str]] = set()
    runs = apps.get_model("workflows", "Run").objects.order_by()
    for name, params in runs.values_list("workflow_name", "params").iterator(CHUNK):
        ids = documents.intersection(ID.findall(json.dumps(params)))
        found.update((one, name) for one in ids)
    use = apps.get_model("workflows", "DocumentUse")
    use.objects.bulk_create(
        [use(document_id=one, workflow_name=name) for one, name in sorted(found)],
        batch_size=CHUNK,
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0008_rights"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(make_roles, remove_roles),
        migrations.RunPython(find_uses, migrations.RunPython.noop),
    ]
