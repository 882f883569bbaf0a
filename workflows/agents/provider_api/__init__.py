"""Requests to model servers through the `openai` package, with retries.

Prompts are built elsewhere; this package records nothing and reads no database.
"""

from workflows.agents.provider_api.call_usage import CallUsage
from workflows.agents.provider_api.clients import Clients, pooled
from workflows.agents.provider_api.service import Service

__all__ = ["CallUsage", "Clients", "Service", "pooled"]
