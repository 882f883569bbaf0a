"""Django's settings, built from the environment as project/env.py reads it."""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path
from typing import Any, Final

import dj_database_url

from project import env
from project.limit_settings import requests_at_once
from project.secret_key import load_or_create_secret_key

ROOT: Final = env.ROOT
BASE_DIR: Final = ROOT  # of the installed tree, with the documentation
ENV: Final = env.load()

DATA_DIR: Final[Path] = ENV.data_dir
DEBUG = ENV.debug
PRODUCTION: Final = ENV.production
HTTPS: Final = ENV.uses_https
SECRET_KEY = (
    ENV.secret_key.get_secret_value()
    if ENV.secret_key
    else load_or_create_secret_key(DATA_DIR)
)

SECRET_KEY_FALLBACKS = [key.get_secret_value() for key in ENV.secret_key_fallbacks]
RETENTION_ENABLED = ENV.retention_enabled
WEBHOOK_DELIVERY_DAYS = ENV.webhook_delivery_days
APPROVAL_CLAIM_HOURS = ENV.approval_claim_hours
EVENT_KEEP_DAYS = ENV.event_keep_days
AUDIT_KEYS = [key.get_secret_value() for key in ENV.audit_keys]

# Address and allowed host names ------------------------------------------

HOST: Final = ENV.host
PORT: Final = ENV.port
BEHIND_PROXY: Final = ENV.trusts_proxy
TRUSTED_PROXIES: Final = ENV.trusted_proxies
LOOPBACK = ["localhost", ".localhost", "127.0.0.1", "[::1]"]
EVERYWHERE = {"0.0.0.0", "::", "[::]"}  # noqa: S104 - recognised here, never bound


def _own_names() -> list[str]:
    """Return the names a laptop answers to: its own, and the address it listens on."""
    listening = socket.gethostname() if ENV.host in EVERYWHERE else ENV.host
    bracketed = f"[{listening}]" if ":" in listening else listening
    return [*LOOPBACK, bracketed]


ALLOWED_HOSTS = [*ENV.allowed_hosts] or _own_names()
CSRF_TRUSTED_ORIGINS = [*ENV.csrf_trusted_origins]

# What is installed ------------------------------------------------------------------

INSTALLED_APPS = [
    "workflows.apps.WorkflowsConfig",
    "project.admin_site.OperatorsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "template_partials",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "allauth.mfa",
    "allauth.usersessions",
    *ENV.workflow_apps,
]

MIDDLEWARE = [
    "workflows.pages.middleware.trace_request",
    "workflows.pages.middleware.release_connection",
    "workflows.api.middleware.errors_as_problems",
    "workflows.api.middleware.head_as_get",
    "django.middleware.security.SecurityMiddleware",
    "project.static.StaticFiles",
    "project.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "workflows.pages.middleware.set_client_address",
    "workflows.pages.render.zones.in_readers_zone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "workflows.pages.sessions.view_as.show_as_member",
    "axes.middleware.AxesMiddleware",
    "workflows.pages.sessions.ended_sessions.preserve_unsaved_input",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,  # template_partials puts its loader around the usual ones
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The database -----------------------------------------------------------------------

# IMMEDIATE takes the write lock when a transaction begins, so two writers queue for it
# instead of one failing half-way. WAL lets readers continue. FULL, because an
# accepted run must not be lost: with NORMAL, a power failure can revert commits
# that were already confirmed.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,  # seconds a writer waits for the lock
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
        " PRAGMA cache_size=-16000;"
    ),
}

# A server that vanished without a word (a machine that lost power) is noticed in seconds,
# where the operating system alone would wait for a quarter of an hour.
POSTGRES_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds for what was sent to be acknowledged
}
MAX_IDLE_TRANSACTION_SECONDS = 60.0  # of ours, inside a transaction
SQLITE: Final = "django.db.backends.sqlite3"
OURS: Final = "project.sqlite"  # the same, with turns at writing


def _database() -> dict[str, Any]:
    """Return Django's database settings."""
    if ENV.database_url is None:
        url = f"sqlite:///{DATA_DIR / 'db.sqlite3'}"
    else:
        url = ENV.database_url.get_secret_value()
    database: dict[str, Any] = {**dj_database_url.parse(url)}
    options = {**database.get("OPTIONS", {})}
    if database["ENGINE"] == SQLITE:
        options |= SQLITE_OPTIONS
        database["ENGINE"] = OURS
        database["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
    else:
        options = POSTGRES_OPTIONS | options
    if ENV.database_pool_size and database["ENGINE"] != OURS:
        # A process that is stopped inside a transaction keeps rows locked for others,
        # until the server ends it. Poolers refuse such options at the start.
        idle_seconds = max(ENV.lease_seconds, MAX_IDLE_TRANSACTION_SECONDS)
        idle = f"-c idle_in_transaction_session_timeout={idle_seconds * 1000:.0f}"
        options["options"] = f"{options.get('options', '')} {idle}".strip()
        options["pool"] = {
            "min_size": min(2, ENV.database_pool_size),
            "max_size": ENV.database_pool_size,
            # Seconds a request waits for a connection; a socket's handshake has five.
            "timeout": 4,
            "reconnect_timeout": 5,  # then the next request starts a new attempt
        }
        # Let the server prepare statements, which Django disables. A
        # transaction pooler could route one to a session without the statement.
        options["prepare_threshold"] = 5
    # Under ASGI every request has its own thread, and a connection kept by a
    # thread would outlive its use: the pool keeps connections instead, and checks each
    # before use, since the server may have been restarted.
    return {
        **database,
        "OPTIONS": options,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": bool(ENV.database_pool_size),
    }


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Messages between processes ---------------------------------------------------------

CHANNEL_LAYERS: dict[str, dict[str, Any]] = (
    {
        "default": {
            "BACKEND": "workflows.infra.redis_layer.FewRoundTripsLayer",
            "CONFIG": {
                "hosts": [
                    {
                        "address": ENV.redis_url.get_secret_value(),
                        # redis-py would otherwise end the reads of an idle worker
                        # after a few seconds.
                        "socket_timeout": None,
                        "socket_connect_timeout": 2,
                    }
                ],
                # Members join again every 15 or 30 seconds; those that were killed do not.
                # Times are those of the members' clocks, which may differ.
                "group_expiry": 300,
            },
        }
    }
    if ENV.redis_url
    else {"default": {"BACKEND": "workflows.infra.memory_layer.ThreadSafeChannelLayer"}}
)

# Accounts and sessions --------------------------------------------------------------

ADMIN_PASSWORD: Final = (
    ENV.admin_password.get_secret_value() if ENV.admin_password else ""
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Lockout after wrong passwords. Failures are counted in the database, shared by all
# processes, per name and address together: no one can lock out a user at another
# address. The response is the same for unknown names.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = ENV.login_failures
AXES_COOLOFF_TIME = dt.timedelta(minutes=ENV.login_lockout_minutes)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "workflows.infra.client_ip.address_of"
AXES_LOCKOUT_CALLABLE = "workflows.pages.views.accounts.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
DEFAULT_ACCESS: Final = ENV.default_access
WORKFLOW_APPS: Final = ENV.workflow_apps
LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "workflows.pages.sessions.ended_sessions.csrf_failure"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_RESET_TIMEOUT = 3600  # seconds for which the link of a mail is valid

# allauth: sign-in in steps, through a provider, with second factors. Its own limits count
# per process, so that the lockout above and RATES below count instead.
ACCOUNT_ADAPTER = "workflows.pages.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False
ACCOUNT_RATE_LIMITS = False
SOCIALACCOUNT_ADAPTER = "workflows.pages.accounts.adapters.ProviderAdapter"
SOCIALACCOUNT_PROVIDERS = ENV.providers | ENV.saml_providers
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
# A form that is redirected to another host would need an exception of the policy of
# project/security.py; the state of the request protects the way back.
SOCIALACCOUNT_LOGIN_ON_GET = True
MFA_ADAPTER = "workflows.pages.accounts.adapters.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_RATE_LIMITS = False
MFA_FORMS = {
    "authenticate": "workflows.pages.accounts.factor_forms.CodeForm",
    "reauthenticate": "workflows.pages.accounts.factor_forms.ConfirmCodeForm",
    "authenticate_webauthn": "workflows.pages.accounts.factor_forms.KeyForm",
    "login_webauthn": "workflows.pages.accounts.factor_forms.SignInKeyForm",
    "reauthenticate_webauthn": "workflows.pages.accounts.factor_forms.ConfirmKeyForm",
    "add_webauthn": "workflows.pages.accounts.factor_forms.NewKeyForm",
}
OIDC_GROUPS: Final = ENV.oidc_groups
OIDC_GROUPS_CLAIM: Final = ENV.oidc_groups_claim
OIDC_LINK_BY_EMAIL: Final = ENV.oidc_link_by_email
SAML_GROUPS: Final = ENV.saml_groups
SAML_GROUPS_ATTRIBUTE: Final = ENV.saml_groups_attribute
SAML_LINK_BY_EMAIL: Final = ENV.saml_link_by_email
SAML_EXPIRES: Final = ENV.saml_expires

MAILS_PER_MINUTE: Final = 3  # that reset the password of one address
CHATS_PER_MINUTE: Final = 10  # addresses of their own that a person saves or tests
RATES: Final = {  # a minute: of one address for logins, of one person for all else
    "login": ENV.logins_per_minute,
    "reset_mail": MAILS_PER_MINUTE,
    "chat": CHATS_PER_MINUTE,
    "launch": ENV.launches_per_minute,
    "upload": ENV.uploads_per_minute,
    "api": ENV.api_requests_per_minute,
    "api_failure": ENV.logins_per_minute,
    "webhook": ENV.webhooks_per_minute,
    "webhook_failure": ENV.logins_per_minute,
}
REDIS_URL: Final = ENV.redis_url.get_secret_value() if ENV.redis_url else ""

# Transport --------------------------------------------------------------------------

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = (
    True  # pages carry the token themselves
)
SESSION_COOKIE_AGE = ENV.session_hours * 3600
if HTTPS:
    # Browsers take such cookies only from this very host, over HTTPS: not from a
    # neighbour below the same domain.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
SECURE_REDIRECT_EXEMPT = [r"^health/"]  # probes use plain HTTP, without the proxy
SECURE_HSTS_SECONDS = ENV.hsts_seconds if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: not ours to promise for a team's domain
    "security.W021",  # HSTS preload: likewise
]

# Files ------------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static" if PRODUCTION else None
STATICFILES_DIRS = [ROOT / "static"]
MEDIA_ROOT = DATA_DIR / "media"  # never served directly: views check permissions
STORAGES = {
    "default": ENV.storage,
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# A laptop serves static files from where they are; production from what `prepare`
# collected, under names that change with their content.
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0
WHITENOISE_ALLOW_ALL_ORIGINS = False
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_HANDLERS = ["workflows.documents.uploads.HashingUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = ENV.max_form_bytes
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
DATA_UPLOAD_MAX_NUMBER_FILES = 20
MAX_UPLOAD_BYTES: Final = ENV.max_upload_bytes
MAX_RUN_FILE_BYTES: Final = ENV.max_run_file_bytes
MAX_WEBHOOK_BYTES: Final = min(ENV.max_webhook_bytes, ENV.max_form_bytes)
MAX_PARAMS_BYTES: Final = ENV.max_params_bytes
MAX_BATCH_ROWS: Final = ENV.max_batch_rows
MAX_BATCH_BYTES: Final = ENV.max_batch_bytes
MAX_STATE_BYTES: Final = ENV.max_state_bytes
MAX_LINE_CHARS: Final = ENV.max_line_chars
MAX_SOCKET_BYTES: Final = ENV.max_socket_bytes
MAX_REQUESTS: Final = requests_at_once(
    ENV.max_requests,
    DATABASES["default"]["OPTIONS"].get("pool", {}).get("max_size", 0),
)
MAX_QUEUED_REQUESTS: Final = ENV.max_queued_requests
MAX_CONNECTIONS: Final = ENV.max_connections
MAX_CONNECTIONS_PER_ADDRESS: Final = (
    0 if BEHIND_PROXY else ENV.max_connections_per_address
)
MAX_SOCKETS: Final = ENV.max_sockets
MAX_SOCKETS_PER_PERSON: Final = ENV.max_sockets_per_person
MCP: Final = ENV.mcp
DASK_SCHEDULER: Final = ENV.dask_scheduler
MAX_STREAMS: Final = ENV.max_streams
MAX_STREAMS_PER_PERSON: Final = ENV.max_streams_per_person
MAX_MESSAGES_PER_SECOND: Final = ENV.max_messages_per_second
PAGE_CACHE_BYTES: Final = ENV.page_cache_bytes
MAX_EXPORTS: Final = ENV.max_exports
REQUEST_SECONDS: Final = ENV.request_seconds
PDF_PROCESSES: Final = ENV.pdf_processes
OCR_PROCESSES: Final = ENV.ocr_processes

# Running ----------------------------------------------------------------------------

WORKER_CONCURRENCY: Final = ENV.worker_concurrency
LEASE_SECONDS: Final = ENV.lease_seconds
HEARTBEAT_SECONDS: Final = ENV.heartbeat_seconds
POLL_INTERVAL_SECONDS: Final = ENV.poll_interval_seconds
BLOCKED_LOOP_SECONDS: Final = ENV.blocked_loop_seconds
MAX_RECOVERIES: Final = ENV.max_recoveries
SUSPECT_PROCESSES: Final = ENV.suspect_processes
SUSPECT_MEMORY_MB: Final = ENV.suspect_memory_mb
MAX_SUBWORKFLOW_DEPTH: Final = ENV.max_subworkflow_depth
DRAIN_SECONDS: Final = ENV.drain_seconds
METRICS_TOKEN: Final = ENV.metrics_token.get_secret_value() if ENV.metrics_token else ""
METRICS_PORT: Final = ENV.metrics_port
OTLP_ENDPOINT: Final = ENV.otlp_endpoint
OTLP_HEADERS: Final = ENV.otlp_headers.get_secret_value() if ENV.otlp_headers else ""
OTLP_SECONDS: Final = ENV.otlp_seconds
TRACE_SHARE: Final = ENV.trace_share
EMBEDS_WORKER: Final = ENV.redis_url is None  # `serve` runs the work itself

# Agents -----------------------------------------------------------------------------

CURRENCY: Final = ENV.currency
ALLOW_PRIVATE_PROVIDERS: Final = ENV.allows_private_providers

# Messages ---------------------------------------------------------------------------

PUBLIC_URL: Final = ENV.address
ALLOW_PRIVATE_WEBHOOKS: Final = ENV.allows_private_webhooks
WEBHOOK_SECONDS: Final = ENV.webhook_seconds
DELIVERY_DAYS: Final = ENV.delivery_days
EMAIL_HOST = ENV.email_host
EMAIL_PORT = ENV.email_port
EMAIL_HOST_USER = ENV.email_user
EMAIL_HOST_PASSWORD = (
    ENV.email_password.get_secret_value() if ENV.email_password else ""
)
EMAIL_USE_TLS = ENV.email_security == "starttls"
EMAIL_USE_SSL = ENV.email_security == "tls"
EMAIL_TIMEOUT = ENV.webhook_seconds
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENV.email_from

# Language, time and log -------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_TZ = True
FORMAT_MODULE_PATH = ["project.formats"]  # dates in Django admin
TIME_ZONE = ENV.time_zone
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "project.log.LineFormatter"},
        "json": {"()": "project.log.JsonFormatter"},
    },
    "filters": {
        "hosts": {"()": "project.log.DisallowedHostsInALine"},
        "outages": {"()": "project.log.OutagesInALine"},
        "run_context": {"()": "project.log.RunContextFilter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": ENV.log_format,
            "filters": ["hosts", "outages", "run_context"],
        }
    },
    "root": {"handlers": ["stderr"], "level": ENV.log_level},
    "loggers": {
        "django": {"level": ENV.log_level},
        "django.server": {"handlers": [], "propagate": True},
        "daphne": {"level": "WARNING"},
        "uvicorn": {"level": "ERROR"},  # a warning for each malformed request
        "websockets": {"level": "WARNING"},
        # a line for each message to the channel of a killed process, until it expires
        "channels_redis": {"level": "WARNING"},
        "asyncio": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        # These log each request with its headers; calls are recorded on their stage.
        "httpcore": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        "stamina": {"level": "ERROR"},  # tries are recorded with their call
        "twisted": {"level": "WARNING"},
        "psycopg.pool": {
            "level": "ERROR"
        },  # logs each retry; the outage is logged once
    },
}
