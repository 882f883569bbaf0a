"""Errors of a workflow's providers: documents, images, agents and profiles.

    ProviderError          a provider could not fulfil a request
    ├─ NotFound            unknown document, page, agent or profile
    │  └─ NotDefined       no variable or secret with this name; also a KeyError
    ├─ Duplicate           it exists already
    ├─ Invalid             unusable input: an empty file, an invalid option
    ├─ Unsupported         not supported by the provider
    ├─ Unavailable         nothing is configured that could fulfil it
    ├─ AuthenticationFailed         an external service rejected the key
    └─ UpstreamFailed      an external service failed
       ├─ StorageFailed    the storage of documents failed
       ├─ TimedOut         it did not respond in time
       └─ InvalidResponse        its response is unusable

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


class NotDefined(NotFound, KeyError):
    """There is no variable or secret with this name for the workflow."""

    __str__ = Exception.__str__  # not that of KeyError, which quotes the message


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


class InvalidResponse(UpstreamFailed):
    """An external service returned an unusable response."""

    code = "bad_answer"
