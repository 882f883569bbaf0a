"""Errors of a workflow's providers: documents, images, agents and profiles.

    ProviderError          something outside the workflow did not give what was asked
    ├─ NotFound            there is no such document, page, agent or profile
    ├─ Duplicate           it is there already
    ├─ Invalid             what was given cannot be used: an empty file, a bad option
    ├─ Unsupported         understood, but not something this provider does
    ├─ Unavailable         nothing is set up that could do it
    ├─ AuthenticationFailed         another service refused our key
    └─ UpstreamFailed      another service was asked and failed
       ├─ StorageFailed    the storage of documents did not do it
       ├─ TimedOut         it did not answer in time
       └─ BadAnswer        it answered what cannot be used

Each message is a sentence for the person who launched the run.
"""

from __future__ import annotations

from workflows.engine.errors import WorkflowError


class ProviderError(WorkflowError):
    """A provider could not fulfil a request."""

    code = "provider"  # stable identifier for programs; the message is for people


class NotFound(ProviderError):
    """The requested object does not exist."""

    code = "not_found"


class Duplicate(ProviderError):
    """The object exists already."""

    code = "duplicate"


class Invalid(ProviderError):
    """The input cannot be used."""

    code = "invalid"


class Unsupported(ProviderError):
    """The provider does not support the request."""

    code = "unsupported"


class Unavailable(ProviderError):
    """Nothing is configured that could fulfil the request."""

    code = "unavailable"


class AuthenticationFailed(ProviderError):
    """An external service rejected the key."""

    code = "not_accepted"


class UpstreamFailed(ProviderError):
    """An external service failed or did not respond."""

    code = "upstream_failed"


class StorageFailed(UpstreamFailed):
    """The storage of documents is unreachable, refuses access or is full."""

    code = "storage_failed"
    status = 503  # HTTP status of error pages


class TimedOut(UpstreamFailed):
    """An external service did not respond in time."""

    code = "timed_out"


class BadAnswer(UpstreamFailed):
    """An external service returned an unusable response."""

    code = "bad_answer"
