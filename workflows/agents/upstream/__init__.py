"""Model servers, asked through the `openai` package: one request with its retries.

What is said, to whom, is decided elsewhere; here nothing is recorded and no database
is read.
"""

from workflows.agents.upstream.clients import Clients, pooled
from workflows.agents.upstream.service import Service
from workflows.agents.upstream.spent import CallUsage

__all__ = ["CallUsage", "Clients", "Service", "pooled"]
