"""What a workflow reached for and did not get: one kind of error for each reason.

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
    """Something outside the workflow did not give what was asked for."""

    code = "provider"  # stable, for programs; the message is for people


class NotFound(ProviderError):
    """There is no such thing here."""

    code = "not_found"


class Duplicate(ProviderError):
    """It is there already."""

    code = "duplicate"


class Invalid(ProviderError):
    """What was given cannot be used."""

    code = "invalid"


class Unsupported(ProviderError):
    """This provider does not do that."""

    code = "unsupported"


class Unavailable(ProviderError):
    """Nothing is set up that could do it."""

    code = "unavailable"


class AuthenticationFailed(ProviderError):
    """Another service refused the key it was asked with."""

    code = "not_accepted"


class UpstreamFailed(ProviderError):
    """Another service was asked, and failed or did not answer."""

    code = "upstream_failed"


class StorageFailed(UpstreamFailed):
    """The storage of documents could not be reached, refused us, or was full."""

    code = "storage_failed"
    status = 503  # of a page that tells of it


class TimedOut(UpstreamFailed):
    """Another service did not answer in time."""

    code = "timed_out"


class BadAnswer(UpstreamFailed):
    """Another service answered what cannot be used."""

    code = "bad_answer"
