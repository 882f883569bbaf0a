"""What the owner of a destination may see: asked when a message is made and when it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions

if TYPE_CHECKING:
    from workflows.models import Destination


def may_receive(destination: Destination, workflow: str) -> bool:
    """Return whether a destination may receive messages about a workflow; "" for none.

    Its owner needs an active account, the permission to manage destinations, and that to
    see the workflow.
    """
    owner = destination.owner
    if owner is None or not permissions.can_manage_destinations(owner):
        return False
    return not workflow or permissions.can_view(owner, workflow)
