"""Requests to model servers through the `openai` package, with retries.

Prompts are built elsewhere; this package records nothing and reads no database.
"""

from workflows.agents.upstream.call_usage import CallUsage
from workflows.agents.upstream.clients import Clients, pooled
from workflows.agents.upstream.service import Service

__all__ = ["CallUsage", "Clients", "Service", "pooled"]
