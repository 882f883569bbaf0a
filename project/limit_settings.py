"""Settings that limit sizes and rates."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

OTHER_CONNECTIONS = 12  # to the database: websockets, checks, exports, the worker
PER_MINUTE = "Maximum {} of a person in a minute; 0 sets no limit."


class Limits(BaseSettings):
    """Limits; input above one is refused with a message and not stored."""

    max_upload_bytes: int = Field(
        100_000_000, ge=1, description="Maximum bytes of an uploaded file."
    )
    max_run_file_bytes: int = Field(
        100_000_000, ge=1, description="Maximum bytes of a file that a run makes."
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
    max_batch_rows: int = Field(
        5_000,
        ge=1,
        le=20_000,
        description="Maximum rows of a batch of launches.",
    )
    max_batch_bytes: int = Field(
        10_000_000,
        ge=1_000,
        description="Maximum bytes of the file of a batch; on its page, MAX_FORM_BYTES "
        "applies as well.",
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
    api_requests_per_minute: int = Field(
        1_200,
        ge=0,
        description="Maximum requests of an API token, or of a person's session, to the"
        " API in a minute; 0 sets no limit.",
    )
    max_webhook_bytes: int = Field(
        1_000_000,
        ge=1_000,
        description="Maximum bytes of a delivery to an incoming webhook; at most "
        "MAX_FORM_BYTES.",
    )
    webhooks_per_minute: int = Field(
        600,
        ge=0,
        description="Maximum deliveries to an incoming webhook in a minute; more get 429. "
        "0 sets no limit.",
    )
    max_requests: int = Field(
        8,
        ge=1,
        le=200,
        description="Pages that a server process renders at once; less if "
        "DATABASE_POOL_SIZE is below MAX_REQUESTS + 12.",
    )
    max_queued_requests: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Requests that wait for one of MAX_REQUESTS; others get 503.",
    )
    max_connections: int = Field(
        1_000,
        ge=20,
        le=100_000,
        description="Maximum connections of a server process; beyond it a new one closes "
        "the one that has been idle for longest.",
    )
    max_connections_per_address: int = Field(
        500,
        ge=0,
        description="The same for connections from one address; 0 sets no limit. Not used "
        "with BEHIND_PROXY: all connections come from the proxy.",
    )
    max_sockets: int = Field(
        600, ge=0, description="Maximum open websockets of a server process."
    )
    max_sockets_per_person: int = Field(
        60, ge=0, description="Maximum open websockets of a person in a process."
    )
    max_streams: int = Field(
        200,
        ge=0,
        description="Maximum open streams of server-sent events of a server process; 0 sets"
        " no limit.",
    )
    max_streams_per_person: int = Field(
        20,
        ge=0,
        description="Maximum open streams of server-sent events of a person, with all of"
        " their tokens, in a process; 0 sets no limit.",
    )
    max_messages_per_second: int = Field(
        50,
        ge=5,
        description="Maximum messages a second from a websocket, and four times as many "
        "from all websockets of a person; more close it.",
    )
    page_cache_bytes: int = Field(
        16_000_000,
        ge=0,
        description="Maximum bytes of the rendered steps, log lines and other parts of pages "
        "that a process keeps in memory; 0 keeps none.",
    )
    max_exports: int = Field(
        2, ge=1, description="Exports and logs that a server process sends at once."
    )
    request_seconds: float = Field(
        10,
        gt=0,
        le=600,
        description="Seconds for the headers of a request to arrive, and the same for "
        "the first bytes of its body; then 8 kB a second are required.",
    )


def requests_at_once(most: int, pool_size: int) -> int:
    """Return MAX_REQUESTS, or what the database connections of the process suffice for.

    A request that gets no connection in time reports the database unavailable.
    """
    return max(1, min(most, pool_size - OTHER_CONNECTIONS)) if pool_size else most
