"""Notify open pages when permissions change, so that they check them again.

Changes that bypass Django's signals, or come from a process without a shared channel
layer, send no notification: open pages also check periodically.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models.signals import m2m_changed, post_delete, post_save

from workflows.infra import notifications
from workflows.models import WorkflowPermission

IRRELEVANT_FIELDS = {"last_login"}  # changed by each sign-in
POST_ACTIONS = {"post_add", "post_remove", "post_clear"}


def listen() -> None:
    """Connect the signals of every model that grants permissions."""
    for model in (WorkflowPermission, Group, User):
        post_save.connect(_saved, sender=model)
        post_delete.connect(_deleted, sender=model)
    for through in (
        User.groups.through,
        User.user_permissions.through,
        Group.permissions.through,
    ):
        m2m_changed.connect(_membership_changed, sender=through)


def _saved(sender: type, *, created: bool, raw: bool, **about: Any) -> None:
    fields = about.get("update_fields")
    # a new group or user has no members and no open pages yet
    is_unused = created and sender is not WorkflowPermission
    if not (is_unused or raw or (fields and set(fields) <= IRRELEVANT_FIELDS)):
        notifications.permissions_changed_on_commit()


def _deleted(**_: Any) -> None:
    notifications.permissions_changed_on_commit()


def _membership_changed(*, action: str, **_: Any) -> None:
    if action in POST_ACTIONS:
        notifications.permissions_changed_on_commit()
