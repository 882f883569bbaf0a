"""Model servers, asked through the `openai` package: one request with its retries.

What is said, to whom, is decided elsewhere; here nothing is recorded and no database
is read.
"""

from workflows.agents.upstream.call_usage import CallUsage
from workflows.agents.upstream.clients import Clients, pooled
from workflows.agents.upstream.service import Service

__all__ = ["CallUsage", "Clients", "Service", "pooled"]
