"""`manage.py doctor`: a finding for each part, and what to do about each problem."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from tests.support.receiver import Receiver, Reply
from tests.support.servers import free_port
from workflows.execution import workers
from workflows.infra import clock
from workflows.models import Provider
from workflows.ops import diagnosis

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_channel_layer")]
Diagnose = Callable[[], dict[str, list[tuple[str, str]]]]


@pytest.fixture
def doctor() -> Diagnose:
    """Return a function that runs the command: level and message by part."""

    def run() -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for line in output_of("--json")[0].splitlines():
            row = json.loads(line)
            found.setdefault(row["part"], []).append((row["level"], row["message"]))
        return found

    return run


def output_of(*options: str) -> tuple[str, int]:
    """Return what the command prints, and its exit code."""
    out = StringIO()
    try:
        call_command("doctor", *options, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), int(ended.code or 0)
    return out.getvalue(), 0


def make_provider(receiver: Receiver, **fields: Any) -> Provider:
    base_url = receiver.url.removesuffix("/hook") + "/v1"
    provider = Provider(name="local", base_url=base_url, **fields)
    provider.store_key("a-key")
    provider.save()
    return provider


def test_an_installation_in_order_has_no_failure_and_exits_with_0() -> None:
    workers.register("here-1", capacity=4)
    text, code = output_of()
    assert code == 0, text
    assert "FAIL" not in text
    assert "Workers alive: 1." in text
    assert text.endswith("Failed: 0. Warnings: 0.\n")


def test_a_failure_exits_with_1_and_names_the_remedy() -> None:
    text, code = output_of()
    assert code == 1
    line = (
        "FAIL  workers    None is alive: runs wait until `manage.py worker` is started."
    )
    assert line in text.splitlines()


def test_missing_migrations_leave_out_what_needs_the_tables(doctor: Diagnose) -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="workflows").latest("name")
    kept = (newest.app, newest.name)
    newest.delete()
    try:
        found = doctor()
    finally:
        MigrationRecorder(connection).record_applied(*kept)
    assert found["migrations"] == [
        ("failed", "1 are missing: run `manage.py prepare`.")
    ]
    assert found["keys"] == [("skipped", "Not checked without the tables.")]
    assert found["storage"][0][0] == "ok"


def test_a_check_that_raises_is_a_failure_and_the_others_are_made(
    doctor: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> str:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(default_storage, "save", fail)
    found = doctor()
    (level, message), *_ = found["storage"]
    assert level == "failed"
    assert "read-only file system" in message
    assert {"keys", "clock", "providers"} <= found.keys()


def test_the_probe_of_the_storage_leaves_no_file(doctor: Diagnose) -> None:
    assert doctor()["storage"] == [("ok", "A file was stored, read and deleted.")]
    assert default_storage.listdir("probes") == ([], [])


def test_mail_is_contacted_without_sending_a_message(
    doctor: Diagnose, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    refused = doctor()["mail"]
    assert refused[0][0] == "failed"
    assert f"127.0.0.1:{settings.EMAIL_PORT} cannot be used" in refused[0][1]
    server = Controller(object(), hostname="127.0.0.1", port=settings.EMAIL_PORT)
    server.start()
    try:
        assert doctor()["mail"][0][0] == "ok"
    finally:
        server.stop()


def test_a_secret_of_another_key_is_named(doctor: Diagnose, settings: Any) -> None:
    with Receiver() as receiver:
        make_provider(receiver, is_enabled=False)
    settings.SECRET_KEY, other = "another-key-" * 6, settings.SECRET_KEY
    found = doctor()["keys"]
    assert (
        "The secret of the provider “local” was encrypted with another" in found[0][1]
    )
    settings.SECRET_KEY_FALLBACKS = [other]
    assert "provider" not in str(doctor()["keys"])


@pytest.mark.parametrize(
    ("reply", "level", "says"),
    [
        (Reply(200, b'{"object": "list", "data": []}'), "ok", "accepts its key"),
        (Reply(401, b"{}"), "failed", "refuses its key with 401"),
        (Reply(404, b"{}"), "warning", "its key was not checked"),
        (Reply(500, b"{}"), "failed", "answers with 500"),
    ],
)
def test_providers_are_asked_for_their_models_with_the_stored_key(
    doctor: Diagnose, reply: Reply, level: str, says: str
) -> None:
    reply.headers["content-type"] = "application/json"
    with Receiver() as receiver:
        receiver.reply = lambda _: reply
        make_provider(receiver)
        ((found, message),) = doctor()["providers"]
    assert (found, says in message) == (level, True), message
    assert receiver.received[0].path == "/v1/models"
    assert receiver.received[0].headers["authorization"] == "Bearer a-key"
    assert "a-key" not in message


def test_a_provider_that_is_away_is_named_with_the_cause(doctor: Diagnose) -> None:
    with Receiver() as receiver:
        make_provider(receiver)
    ((level, message),) = doctor()["providers"]
    assert level == "failed"
    assert message.startswith("“local” cannot be reached: ")
    assert message.endswith("Check its base URL.")


def test_clocks_that_differ_are_reported(
    doctor: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        assert doctor()["clock"] == [
            ("skipped", "SQLite uses the clock of this machine.")
        ]
        return
    assert doctor()["clock"][0][0] == "ok"
    later = clock.local_now() + dt.timedelta(seconds=90)
    monkeypatch.setattr(clock, "now", lambda: later)
    ((level, message),) = doctor()["clock"]
    assert level == "warning"
    assert "differs by +" in message


def test_the_certificate_of_a_sign_in_provider_is_reported_before_it_expires(
    doctor: Diagnose, settings: Any
) -> None:
    assert "sign-in" not in doctor()
    for days, level in ((100, "ok"), (29, "warning"), (-1, "failed")):
        settings.SAML_EXPIRES = clock.now() + dt.timedelta(days=days)
        [(found, message)] = doctor()["sign-in"]
        assert found == level
        assert f"{settings.SAML_EXPIRES:%Y-%m-%d}" in message
        assert ("set SAML_CERTIFICATE" in message) == (level != "ok")


def test_the_certificate_is_checked_without_the_database(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise OperationalError("the database is down")

    monkeypatch.setattr(clock, "now", fails)
    settings.SAML_EXPIRES = clock.local_now() + dt.timedelta(days=100)
    [finding] = diagnosis.CHECKS["sign-in"]()
    assert finding.level == "ok"
