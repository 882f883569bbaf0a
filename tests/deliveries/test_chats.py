"""Messages to chats by Apprise, to a real HTTP server: text, secrets, refused addresses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.support.factories import make_run
from tests.support.receiver import Receiver, Reply
from tests.support.responses import text_of
from workflows.deliveries import chat, chat_process, service
from workflows.deliveries.chat_process import MISSING
from workflows.deliveries.deliverer import Deliverer
from workflows.deliveries.service import Plan
from workflows.errors import InvalidDestination
from workflows.execution import run_cancellation
from workflows.infra import clock
from workflows.models import (
    Delivery,
    DeliveryAttempt,
    Destination,
    DestinationKind,
    Run,
    Status,
)

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a-secret-of-the-chat"
PRIVATE = "a reason that is data of the run"
NAME = "classify-document"


@pytest.fixture(autouse=True)
def _enough_time(settings: Settings) -> None:
    settings.WEBHOOK_SECONDS = 60
    settings.PUBLIC_URL = "https://runs.example.org"


def address_of(receiver: Receiver) -> str:
    """Return the address at which Apprise posts JSON, with a secret header."""
    return receiver.url.replace("http://", "json://") + f"?+X-Token={SECRET}"


def end_run(**fields: Any) -> Run:
    run = make_run(status=Status.PENDING, params={"text": PRIVATE}, **fields)
    run_cancellation.cancel(run, by=None, reason=PRIVATE)
    return run


def deliver() -> None:
    async def drain() -> None:
        await Deliverer().drain()

    asyncio.run(drain())


def test_messages_arrive_in_order_as_text_without_data_of_the_run(
    receiver: Receiver, admin: User
) -> None:
    found, secret = service.create(Plan("team", address_of(receiver)), by=admin)
    assert (secret, found.kind) == ("", DestinationKind.CHAT)
    runs = [end_run() for _ in range(2)]
    receiver.reply = lambda _: Reply(500)
    deliver()
    assert "The message was not sent" in DeliveryAttempt.objects.get().error
    receiver.reply = lambda _: Reply(200)
    receiver.received.clear()
    Destination.objects.update(next_attempt_at=clock.now())
    deliver()
    bodies = [one.body for one in receiver.received]
    assert [one["title"] for one in bodies] == [
        f"Run cancelled: {NAME} {run.short_id}" for run in runs
    ]
    url = f"https://runs.example.org/runs/{runs[0].pk}/"
    assert bodies[0]["message"] == f"View: {url}"
    assert {one.headers["x-token"] for one in receiver.received} == {SECRET}
    assert PRIVATE not in str(bodies)
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its imports
def test_a_path_that_may_be_a_secret_is_not_shown() -> None:
    apprise = import_module("apprise")
    for scheme in ("jsons", "forms", "xmls", "matrixs"):
        address = f"{scheme}://me:{SECRET}@example.org:8443/{SECRET}/in?x={SECRET}"
        service = apprise.Apprise.instantiate(address)
        shown = chat_process.without_secrets(service)
        assert shown == f"{scheme}://example.org:8443/***"


def test_the_secret_of_an_address_is_stored_encrypted_and_never_shown(
    receiver: Receiver, admin: User, sign_in: Any
) -> None:
    client, address = sign_in(admin), address_of(receiver)
    made = client.post("/destinations/new/", {"name": "team", "url": address})
    found = Destination.objects.get()
    assert made.status_code == 302, text_of(made)
    assert found.open_secrets() == [address]
    assert SECRET not in found.url
    assert SECRET.encode() not in bytes(found.secrets or b"")
    pages = ["/destinations/", f"/destinations/{found.pk}/"]
    pages += [f"/destinations/{found.pk}/edit/"]
    assert not any(SECRET in text_of(client.get(page)) for page in pages)
    assert "Rotate secret" not in text_of(client.get(pages[1]))
    shown = client.get(f"/api/v1/destinations/{found.pk}")
    assert (shown.json()["kind"], shown.json()["url"]) == ("chat", found.url)
    with pytest.raises(InvalidDestination, match="no signing secret"):
        service.rotate_secret(found.pk, by=admin)
    # the form is sent with the address that it shows
    service.change(found.pk, Plan("renamed", found.url), by=admin)
    assert Destination.objects.get().open_secrets() == [address]
    with pytest.raises(InvalidDestination, match="Add another destination"):
        service.change(found.pk, Plan("renamed", receiver.url), by=admin)
    service.send_test(found.pk, by=admin)
    deliver()
    assert receiver.received[0].body["message"] == "Signalbox can reach “renamed”."


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("jsons://127.0.0.1/hook", "internal address"),
        ("jsons://[::1]/hook", "internal address"),
        ("jsons://169.254.169.254/latest", "internal address"),
        ("jsons://localhost/hook", "internal address"),
        ("json://example.org/hook", "Use jsons:// instead"),
        ("jsons://runs.example.invalid/hook?verify=no", "certificates"),
        ("slack://nothing", "not one of its service"),
        ("syslog://localhost", "Enter a full URL"),
        ("jsons://example.org/a b", "without spaces"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_in_the_form(
    admin: User, settings: Settings, address: str, message: str
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    with pytest.raises(InvalidDestination) as refused:
        service.create(Plan("team", address), by=admin)
    assert message in str(refused.value.errors["url"])
    assert not Destination.objects.exists()


def test_an_address_is_checked_at_each_connection(
    receiver: Receiver, admin: User, settings: Settings
) -> None:
    service.create(Plan("team", address_of(receiver)), by=admin)
    end_run()
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    deliver()
    assert receiver.received == []
    assert "internal address" in DeliveryAttempt.objects.get().error


HOOK = """
import socket, sys
from workflows.deliveries.chat_process import Connections
from workflows.infra.addresses import AddressRefused, Guard

connections = Connections(Guard(False, "ALLOW_PRIVATE_WEBHOOKS"))
import requests

try:
    requests.post(sys.argv[1])
except AddressRefused as error:
    print("refused", connections.refusal == str(error))
"""


def test_no_library_of_the_process_can_connect_to_an_internal_address(
    receiver: Receiver,
) -> None:
    # a name, so that only the connection shows where it leads
    url = receiver.url.replace("127.0.0.1", "localhost")
    done = subprocess.run(
        [sys.executable, "-c", HOOK, url],
        capture_output=True,
        cwd=chat.ROOT,
        check=True,
        text=True,
    )
    assert done.stdout == "refused True\n"
    assert receiver.received == []


def test_without_the_extra_an_address_is_refused_with_its_name(
    admin: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InvalidDestination) as refused:
        service.create(Plan("team", "slack://T1/B1/x"), by=admin)
    assert refused.value.errors["url"] == [MISSING]


def test_a_receiver_that_does_not_respond_ends_the_attempt(
    receiver: Receiver, admin: User, settings: Settings
) -> None:
    service.create(Plan("team", address_of(receiver)), by=admin)
    end_run()
    receiver.reply = lambda _: Reply(hangs=True)
    settings.WEBHOOK_SECONDS = 0.01
    deliver()
    assert "not sent within 0.01 s" in DeliveryAttempt.objects.get().error
    assert Delivery.objects.get().status == "pending"


def test_chats_are_kept_as_paused_destinations_by_an_earlier_schema(
    receiver: Receiver, admin: User
) -> None:
    service.create(Plan("team", address_of(receiver)), by=admin)
    executor = MigrationExecutor(connection)
    migration = executor.loader.get_migration("workflows", "0051_chats")
    operation: Any = migration.operations[-1]
    operation.reverse_code(executor.loader.project_state().apps, None)
    found = Destination.objects.get()
    assert (found.kind, found.is_paused) == (DestinationKind.WEBHOOK, True)
    assert json.dumps(found.url).startswith('"json://')
