"""Settings that limit sizes and rates."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

PER_MINUTE = "Maximum {} of a person in a minute; 0 sets no limit."


class Limits(BaseSettings):
    """Limits; input above one is refused with a message and not stored."""

    max_upload_bytes: int = Field(
        100_000_000, ge=1, description="Maximum bytes of an uploaded file."
    )
    max_form_bytes: int = Field(
        2_500_000,
        ge=10_000,
        description="Maximum bytes of a form without its files; a larger one gets 413.",
    )
    max_params_bytes: int = Field(
        1_000_000,
        ge=1_000,
        description="Maximum bytes of the params of a run or of a response to an "
        "approval, as JSON.",
    )
    max_state_bytes: int = Field(
        20_000_000,
        ge=10_000,
        description="Maximum bytes of a run's state, as JSON; a step that exceeds it fails.",
    )
    max_line_chars: int = Field(
        20_000,
        ge=200,
        description="Maximum characters of a log line or error message; a longer one is "
        "cut, with a note.",
    )
    max_socket_bytes: int = Field(
        100_000,
        ge=10_000,
        description="Maximum bytes of a message from a page over its websocket; a larger "
        "one closes it.",
    )
    session_hours: int = Field(
        336,
        ge=1,
        le=8_760,
        description="Hours after which a session ends.",
    )
    login_failures: int = Field(
        5,
        ge=1,
        le=1_000,
        description="Wrong passwords for a user name from one address before that name is "
        "locked there for LOGIN_LOCKOUT_MINUTES.",
    )
    login_lockout_minutes: int = Field(
        15, ge=1, le=10_080, description="Minutes for which the user name is locked."
    )
    logins_per_minute: int = Field(
        60,
        ge=0,
        description="Maximum attempts to sign in from one address in a minute; 0 sets no "
        "limit.",
    )
    launches_per_minute: int = Field(
        60, ge=0, description=PER_MINUTE.format("launches and trial requests to agents")
    )
    uploads_per_minute: int = Field(60, ge=0, description=PER_MINUTE.format("uploads"))
