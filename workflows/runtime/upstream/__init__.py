"""Model servers, asked through the `openai` package: one request with its retries.

What is said, to whom, is decided elsewhere; here nothing is recorded and no database
is read.
"""

from workflows.runtime.upstream.clients import Clients, pooled
from workflows.runtime.upstream.service import Service
from workflows.runtime.upstream.spent import Spent

__all__ = ["Clients", "Service", "Spent", "pooled"]
