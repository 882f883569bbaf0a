"""The content of calls of agents, in rows of their own: prompt, answer and tool calls."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from workflows.models.agents import AgentCall
from workflows.models.runs import Run


class CallContent(models.Model):
    """What a call sent and what came back, compressed and bounded (`agents/call_content.py`).

    Committed with its call, so that there is none without. It is not sealed: retention deletes
    it first, and the sealed history stays complete without it.
    """

    call = models.OneToOneField(
        AgentCall, on_delete=models.CASCADE, primary_key=True, related_name="content"
    )
    # the call outlives its run, the content does not
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="call_contents")
    node_name = models.CharField(max_length=200, blank=True, default="")
    # SHA-256 of what the author's code requested, with its secrets masked; null: the workflow
    # keeps no content, and only the answer is stored, since it could not be parsed
    digest = models.BinaryField(max_length=32, null=True)
    data = models.BinaryField()  # JSON, compressed
    bytes = models.PositiveIntegerField()  # of `data`
    problem = models.TextField(blank=True, default="")  # why it could not be parsed

    class Meta:
        ordering: ClassVar = ["call"]

    def __str__(self) -> str:
        """Return the node whose call it was."""
        return self.node_name
