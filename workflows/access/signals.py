"""When rights change, all open pages are told to look whether they may go on.

What is changed past Django's models, or by a process that reaches no other, is told to
nobody: open pages look by themselves now and then.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models.signals import m2m_changed, post_delete, post_save

from workflows.infra import notifications
from workflows.models import WorkflowPermission

NO_MATTER = {"last_login"}  # each sign-in changes it
DONE = {"post_add", "post_remove", "post_clear"}


def listen() -> None:
    """Hear of every change that may give or take a right."""
    for model in (WorkflowPermission, Group, User):
        post_save.connect(_saved, sender=model)
        post_delete.connect(_deleted, sender=model)
    for through in (
        User.groups.through,
        User.user_permissions.through,
        Group.permissions.through,
    ):
        m2m_changed.connect(_given_or_taken, sender=through)


def _saved(sender: type, *, created: bool, raw: bool, **about: Any) -> None:
    fields = about.get("update_fields")
    is_nobodys = created and sender is not WorkflowPermission  # nobody is there yet
    if not (is_nobodys or raw or (fields and set(fields) <= NO_MATTER)):
        notifications.rights_changed_on_commit()


def _deleted(**_: Any) -> None:
    notifications.rights_changed_on_commit()


def _given_or_taken(*, action: str, **_: Any) -> None:
    if action in DONE:
        notifications.rights_changed_on_commit()
