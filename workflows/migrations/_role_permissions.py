"""Grants permissions of new models to roles, in the migration that creates the models.

Migrations that are released use it: what it does must not change.
"""

from collections.abc import Mapping, Sequence

from django.contrib.auth.management import create_permissions
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps


def create_permission_rows(apps: StateApps, label: str) -> None:
    """Create the permissions of an app, which Django does only after all migrations."""
    config = apps.get_app_config(label)
    config.models_module = True  # type: ignore[assignment] # any truth will do
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None


def grant(granted: Mapping[str, Sequence[str]]) -> RunPython:
    """Return the operation that grants permissions, by name of the role, to existing roles."""

    def forwards(apps: StateApps, _editor: object) -> None:
        create_permission_rows(apps, "workflows")
        permissions = apps.get_model("auth", "Permission").objects
        for role in apps.get_model("auth", "Group").objects.filter(name__in=granted):
            ours = permissions.filter(content_type__app_label="workflows")
            role.permissions.add(*ours.filter(codename__in=granted[role.name]))

    return RunPython(forwards, RunPython.noop)
