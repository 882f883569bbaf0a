"""Django's settings as a process really has them, and what they promise."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler
from django.test import Client, override_settings

from project.env import ROOT, Environment, load
from project.log import LineFormatter
from project.secret_key import KEY_FILE, load_or_create_secret_key
from project.security import HEADER, POLICY
from project.settings_errors import SettingsError

TEAM = {
    "PRODUCTION": "1",
    "SECRET_KEY": "k" * 60,
    "ALLOWED_HOSTS": "runs.example.org",
}
NAMES = (
    "ALLOWED_HOSTS",
    "CHANNEL_LAYERS",
    "DATABASES",
    "EMBEDS_WORKER",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "SECURE_HSTS_SECONDS",
    "SECURE_PROXY_SSL_HEADER",
    "SECURE_SSL_REDIRECT",
    *(
        f"{cookie}_COOKIE_{what}"
        for cookie in ("SESSION", "CSRF")
        for what in ("AGE", "HTTPONLY", "NAME", "SAMESITE", "SECURE")
    ),
)
PRINT = f"""
import json
from project import settings
from django.conf import global_settings
found = {{**vars(global_settings), **vars(settings)}}
print(json.dumps({{name: found[name] for name in {NAMES}}}, default=str))
"""


def settings_of(data_dir: Path, **variables: str) -> dict[str, Any]:
    """Return some settings of a process with just these variables."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in Environment.model_fields
    }
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=ROOT,
        env={**clean, "DATA_DIR": str(data_dir), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# Keys -------------------------------------------------------------------------------


def test_a_development_setup_stores_one_key_readable_only_by_its_owner(
    tmp_path: Path,
) -> None:
    first = settings_of(tmp_path / "new")["SECRET_KEY"]
    assert settings_of(tmp_path / "new")["SECRET_KEY"] == first
    assert len(first) >= 50
    mode = stat.S_IMODE((tmp_path / "new" / KEY_FILE).stat().st_mode)
    assert mode == 0o600


def test_processes_that_start_together_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = set(pool.map(load_or_create_secret_key, [tmp_path] * 8, chunksize=1))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_is_set_leaves_no_file(tmp_path: Path) -> None:
    found = settings_of(tmp_path, SECRET_KEY="k" * 60, SECRET_KEY_FALLBACKS="old")
    assert found["SECRET_KEY"] == "k" * 60
    assert found["SECRET_KEY_FALLBACKS"] == ["old"]
    assert list(tmp_path.iterdir()) == []


# Where we live ----------------------------------------------------------------------


def test_a_development_setup_accepts_local_host_names(tmp_path: Path) -> None:
    hosts = settings_of(tmp_path, HOST="::1")["ALLOWED_HOSTS"]
    assert {"localhost", "127.0.0.1", "[::1]"} <= set(hosts)
    assert "*" not in hosts


def test_a_server_accepts_its_configured_host_names(tmp_path: Path) -> None:
    assert settings_of(tmp_path, **TEAM)["ALLOWED_HOSTS"] == ["runs.example.org"]


def test_without_a_database_address_sqlite_is_in_the_data_directory(
    tmp_path: Path,
) -> None:
    database = settings_of(tmp_path)["DATABASES"]["default"]
    assert database["NAME"] == str(tmp_path / "db.sqlite3")


def test_postgresql_gets_a_pool(tmp_path: Path) -> None:
    address = "postgres://me:secret@db.example.org:5433/runs"
    found = settings_of(tmp_path, DATABASE_URL=address, DATABASE_POOL_SIZE="9")
    database = found["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"]) == ("db.example.org", 5433)
    assert database["OPTIONS"]["pool"]["max_size"] == 9
    assert database["CONN_HEALTH_CHECKS"], "none from before a restart is given out"
    assert database["OPTIONS"]["tcp_user_timeout"] == 30_000
    assert database["CONN_MAX_AGE"] == 0


@pytest.mark.parametrize(
    ("lease", "milliseconds"), [("30", "60000"), ("600", "600000")]
)
def test_a_process_stopped_inside_a_transaction_releases_its_row_locks(
    tmp_path: Path, lease: str, milliseconds: str
) -> None:
    url = "postgres://somebody@db.example.org/runs"
    found = settings_of(tmp_path, DATABASE_URL=url, LEASE_SECONDS=lease)
    options = found["DATABASES"]["default"]["OPTIONS"]["options"]
    assert options == f"-c idle_in_transaction_session_timeout={milliseconds}"


def test_a_pool_size_of_zero_disables_the_connection_pool(tmp_path: Path) -> None:
    found = settings_of(tmp_path, DATABASE_URL="postgres://h/n", DATABASE_POOL_SIZE="0")
    assert "pool" not in found["DATABASES"]["default"]["OPTIONS"]
    assert "options" not in found["DATABASES"]["default"]["OPTIONS"], (
        "poolers refuse them"
    )


def test_with_redis_messages_use_it_and_the_server_runs_no_worker(
    tmp_path: Path,
) -> None:
    found = settings_of(tmp_path, REDIS_URL="redis://127.0.0.1:6390/1")
    layer = found["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"] == "workflows.infra.redis_layer.FewRoundTripsLayer"
    assert layer["CONFIG"]["hosts"] == [
        {
            "address": "redis://127.0.0.1:6390/1",
            "socket_timeout": None,
            "socket_connect_timeout": 2,
        }
    ]
    assert not found["EMBEDS_WORKER"]
    assert settings_of(tmp_path)["EMBEDS_WORKER"]


def test_a_team_is_reached_by_https_only(tmp_path: Path) -> None:
    found = settings_of(tmp_path, **TEAM)
    assert found["SECURE_SSL_REDIRECT"]
    assert found["SESSION_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] == 31_536_000
    assert found["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


def test_a_laptop_trusts_no_forwarded_header(tmp_path: Path) -> None:
    found = settings_of(tmp_path)
    assert found["SECURE_PROXY_SSL_HEADER"] is None
    assert not found["SECURE_SSL_REDIRECT"]
    assert found["SECURE_HSTS_SECONDS"] == 0


# The database as it is --------------------------------------------------------------


def test_sqlite_commits_are_durable(db: None, tmp_path: Path) -> None:
    # those of this process do not wait for the disk
    databases = settings_of(tmp_path)["DATABASES"]
    real = ConnectionHandler(databases)["default"]
    with closing(real), real.cursor() as cursor:
        found = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    full = 2
    assert found == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 20_000,
    }


# Cookies ----------------------------------------------------------------------------


def test_production_cookies_are_host_only_and_http_only(
    tmp_path: Path,
) -> None:
    found = settings_of(tmp_path, **TEAM, SESSION_HOURS="12")
    for cookie, name in (("SESSION", "__Host-session"), ("CSRF", "__Host-csrf")):
        messages = {
            part: found[f"{cookie}_COOKIE_{part}"] for part in ("NAME", "SECURE")
        }
        assert messages == {"NAME": name, "SECURE": True}
        assert found[f"{cookie}_COOKIE_HTTPONLY"]
        assert found[f"{cookie}_COOKIE_SAMESITE"] == "Lax"
    assert found["SESSION_COOKIE_AGE"] == 12 * 3600


def test_on_a_laptop_cookies_work_without_https(tmp_path: Path) -> None:
    found = settings_of(tmp_path)
    assert not found["SESSION_COOKIE_SECURE"]
    assert found["SESSION_COOKIE_NAME"] == "sessionid"
    assert found["SESSION_COOKIE_HTTPONLY"]
    assert found["CSRF_COOKIE_HTTPONLY"]


# Headers ----------------------------------------------------------------------------


def test_pages_allow_only_scripts_and_styles_of_ours(client: Client) -> None:
    response = client.get("/health/live")
    assert response[HEADER] == POLICY
    assert "unsafe" not in POLICY
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"


@override_settings(DEBUG=True)
def test_pages_in_debug_mode_have_no_content_security_policy(client: Client) -> None:
    assert HEADER not in client.get("/static/nothing-of-this-name")


def test_a_request_for_another_host_is_refused(client: Client) -> None:
    assert client.get("/admin/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["/static/admin/css/base.css"])
def test_static_files_are_served_without_collecting(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/css")
    assert int(response["Content-Length"]) == len(response.content)
    again = client.get(path, headers={"if-none-match": response["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


# The log ----------------------------------------------------------------------------


def a_record(message: str, *values: object) -> logging.LogRecord:
    record = logging.LogRecord("here", logging.INFO, "", 1, message, values, None)
    record.created = 1_700_000_000.25
    return record


def test_a_log_line_has_time_level_and_source() -> None:
    line = LineFormatter().format(a_record("Run %s began.", 7))
    assert line == "2023-11-14T22:13:20.250+00:00 INFO    here: Run 7 began."


def test_a_document_cannot_inject_log_lines() -> None:
    line = LineFormatter().format(a_record("Stored %s", "a.pdf\n2023 ERROR forged"))
    assert line.endswith("Stored a.pdf\\n2023 ERROR forged")
    assert len(line.splitlines()) == 1


# Storage ----------------------------------------------------------------------------


def test_documents_are_stored_where_the_environment_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = "tests.support.remote_storage.RemoteStorage"
    assert Environment().storage["BACKEND"].endswith("FileSystemStorage")
    monkeypatch.setenv("MEDIA_STORAGE", remote)
    monkeypatch.setenv("MEDIA_STORAGE_OPTIONS", '{"bucket_name": "harbour"}')
    assert Environment().storage == {
        "BACKEND": remote,
        "OPTIONS": {"bucket_name": "harbour"},
    }


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MEDIA_STORAGE": "no.such.Storage"}, "MEDIA_STORAGE cannot be used"),
        ({"MEDIA_STORAGE_OPTIONS": "bucket"}, "must be a JSON object"),
        ({"MEDIA_STORAGE_OPTIONS": '{"a": 1}'}, "needs MEDIA_STORAGE"),
    ],
)
def test_a_storage_that_cannot_be_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        load()
