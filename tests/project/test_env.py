"""Settings from the environment: accepted values, and messages for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from project import env
from project.history_settings import MIN_KEY_LENGTH
from project.settings_errors import SettingsError

KEY = "k" * MIN_KEY_LENGTH
TEAM = {
    "PRODUCTION": "1",
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": "runs.example.org",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in env.Environment.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return the messages of a start with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        env.load()
    return str(refused.value)


def taken(monkeypatch: pytest.MonkeyPatch, **variables: str) -> env.Environment:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return env.load()


def test_a_laptop_needs_no_setting() -> None:
    settings = env.load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.database_url is settings.redis_url is None
    assert not settings.production
    assert not settings.debug


def test_data_is_stored_in_var_next_to_manage_py(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATA_DIR")
    assert env.load().data_dir == env.ROOT / "var"
    assert (env.ROOT / "manage.py").exists()


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = taken(monkeypatch, PORT="", REDIS_URL="", PRODUCTION="")
    assert settings.port == 8000
    assert settings.redis_url is None


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = taken(monkeypatch, ALLOWED_HOSTS="a.example.org, b.example.org,")
    assert settings.allowed_hosts == ("a.example.org", "b.example.org")


def test_all_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(
        monkeypatch,
        PRODUCTION="1",
        DEBUG="1",
        PORT="eighty",
        LOG_LEVEL="loud",
        TIME_ZONE="Mars/Olympus",
        LEASE_SECONDS="10",
        HEARTBEAT_SECONDS="6",
        DATABASE_URL="mysql://db/x",
        REDIS_URL="http://redis",
        CSRF_TRUSTED_ORIGINS="runs.example.org",
    )
    for sentence in (
        "PORT is 'eighty': it should be a valid integer",
        "LOG_LEVEL is 'LOUD': it should be 'DEBUG', 'INFO'",
        "DEBUG must not be on together with PRODUCTION.",
        "SECRET_KEY must be set in production.",
        "ALLOWED_HOSTS must name the server's host names in production.",
        "TIME_ZONE must be a time zone such as Europe/Berlin or UTC.",
        "HEARTBEAT_SECONDS must be at most half of LEASE_SECONDS (10).",
        "DATABASE_URL must begin with postgres:// or postgresql:// or sqlite:///.",
        "REDIS_URL must begin with redis:// or rediss:// or unix://.",
        "CSRF_TRUSTED_ORIGINS must begin with https:// or http://",
        "docs/operating.md lists every setting.",
    ):
        assert sentence in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "too-short-to-be-a-secret"),
        ("DATABASE_URL", "mysql://me:too-short-to-be-a-secret@db/x"),
        ("DATABASE_URL", "postgres://me:too-short-to-be-a-secret@db:port/x"),
        ("REDIS_URL", "http://:too-short-to-be-a-secret@redis"),
    ],
)
def test_a_refusal_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = refusal(monkeypatch, **{name: value})
    assert f"{name} must" in message
    assert "too-short-to-be-a-secret" not in message


@pytest.mark.parametrize("port", ["-1", "65536", "80.5"])
def test_a_port_is_a_port(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    assert f"PORT is '{port}'" in refusal(monkeypatch, PORT=port)


@pytest.mark.parametrize("hosts", ["https://runs.example.org", "runs.example.org/"])
def test_hosts_are_names_not_addresses(
    monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    message = refusal(monkeypatch, ALLOWED_HOSTS=hosts)
    assert (
        f"ALLOWED_HOSTS must hold host names, not addresses like '{hosts}'" in message
    )


def test_data_cannot_be_stored_below_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    message = refusal(monkeypatch, DATA_DIR=str(tmp_path / "file" / "data"))
    assert f"DATA_DIR lies below {tmp_path / 'file'}, which is no directory." in message


@pytest.mark.parametrize(
    "address", ["sqlite:///", "postgres://db", "postgres://me:a/b@db/x"]
)
def test_a_database_address_names_a_database(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    message = refusal(monkeypatch, DATABASE_URL=address)
    assert "DATABASE_URL must have the form postgres://user:password@host" in message


def test_a_team_is_served_by_https_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = taken(monkeypatch, **TEAM)
    assert settings.uses_https
    assert settings.trusts_proxy


def test_https_without_a_proxy_is_refused_because_redirects_would_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "HTTPS needs BEHIND_PROXY" in refusal(monkeypatch, HTTPS="1")
    assert "HTTPS needs BEHIND_PROXY" in refusal(
        monkeypatch, **TEAM, BEHIND_PROXY="0", HTTPS=""
    )


def test_a_team_may_do_without_https(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = taken(monkeypatch, **TEAM, HTTPS="0", BEHIND_PROXY="0")
    assert not settings.uses_https
    assert not settings.trusts_proxy


def test_settings_do_not_change_once_read() -> None:
    settings = env.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc] # the type checker reports it too
