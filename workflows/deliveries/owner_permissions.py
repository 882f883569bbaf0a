"""What the owner of a destination may see: asked when a message is made and when it is sent."""

from __future__ import annotations

from workflows.access import permissions
from workflows.models import Destination
from workflows.models.destinations import PERSONAL_KINDS


def may_receive(destination: Destination, workflow: str) -> bool:
    """Return whether a destination may receive messages about a workflow; "" for none.

    Its owner needs an active account and the permission to see the workflow, and for
    anything but mail to the owner, or the owner's chat, that to manage destinations.
    """
    owner = destination.owner
    if owner is None or not permissions.is_member(owner):
        return False
    if destination.kind not in PERSONAL_KINDS and not (
        permissions.can_manage_destinations(owner)
    ):
        return False
    return not workflow or permissions.can_view(owner, workflow)
