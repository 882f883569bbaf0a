"""How much is taken from anybody at once, and how often: the limits among the settings."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

PER_MINUTE = "{} one person makes in a minute; 0 sets no limit."


class Limits(BaseSettings):
    """What exceeds one of these is refused with a sentence; nothing of it is kept."""

    max_upload_bytes: int = Field(
        100_000_000, ge=1, description="Bytes of the largest file that is accepted."
    )
    max_form_bytes: int = Field(
        2_500_000,
        ge=10_000,
        description="Bytes of a form without its files; a longer one gets 413.",
    )
    max_params_bytes: int = Field(
        1_000_000,
        ge=1_000,
        description="Bytes of the values a run is launched with, or of an answer, as "
        "JSON.",
    )
    max_state_bytes: int = Field(
        20_000_000,
        ge=10_000,
        description="Bytes of a run's state, as JSON; a step that makes it larger fails.",
    )
    max_line_chars: int = Field(
        20_000,
        ge=200,
        description="Characters of one log line or error message; a longer one is cut, "
        "and says so.",
    )
    max_socket_bytes: int = Field(
        100_000,
        ge=10_000,
        description="Bytes of one message from a page over its websocket; a longer one "
        "closes it.",
    )
    session_hours: int = Field(
        336,
        ge=1,
        le=8_760,
        description="Hours after signing in for which one stays signed in.",
    )
    login_failures: int = Field(
        5,
        ge=1,
        le=1_000,
        description="Wrong passwords for one user name from one address, after which it "
        "has to wait for LOGIN_LOCKOUT_MINUTES.",
    )
    login_lockout_minutes: int = Field(
        15, ge=1, le=10_080, description="Minutes until it may be tried again."
    )
    logins_per_minute: int = Field(
        60,
        ge=0,
        description="Tries to sign in that one address makes in a minute; 0 sets no "
        "limit.",
    )
    launches_per_minute: int = Field(
        60, ge=0, description=PER_MINUTE.format("Launches, and questions to agents,")
    )
    uploads_per_minute: int = Field(60, ge=0, description=PER_MINUTE.format("Uploads"))
