"""The roles as groups, and which documents the runs so far were given."""

import json
import re

from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.migrations.state import StateApps

from workflows.access import roles

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CHUNK = 2_000


def make_roles(apps: StateApps, _editor: object) -> None:
    """Make the groups; permissions are otherwise made only after all migrations."""
    for label in ("auth", "workflows"):
        config = apps.get_app_config(label)
        config.models_module = True  # type: ignore[assignment] # any truth will do
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    roles.make(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


def remove_roles(apps: StateApps, _editor: object) -> None:
    """Remove the groups of these names that nobody was put into."""
    groups = apps.get_model("auth", "Group").objects.filter(name__in=roles.ROLES)
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
