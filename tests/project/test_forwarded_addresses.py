"""The client's address behind proxies: what the client itself sends is not believed."""

from __future__ import annotations

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler

from project.forwarded_addresses import behind_proxies, client_of

LOGIN = "http://localhost/accounts/login/"


@pytest.mark.parametrize(
    ("headers", "proxies", "client"),
    [
        ((), 1, ""),
        (("",), 1, ""),
        (("192.0.2.7",), 1, "192.0.2.7"),
        (("203.0.113.1, 192.0.2.7",), 1, "192.0.2.7"),
        (("203.0.113.1", "192.0.2.7"), 1, "192.0.2.7"),
        (("203.0.113.1, 192.0.2.7, 10.0.0.1",), 2, "192.0.2.7"),
        (("203.0.113.1, 192.0.2.7", "10.0.0.1"), 2, "192.0.2.7"),
        (("192.0.2.7",), 3, "192.0.2.7"),
        (("192.0.2.7:4711",), 1, "192.0.2.7"),
        (("2001:db8::7",), 1, "2001:db8::7"),
        (("[2001:db8::7]:4711",), 1, "2001:db8::7"),
        (('"[2001:db8::7]"',), 1, "2001:db8::7"),
        (("192.0.2.7, unknown",), 1, ""),
        (("192.0.2.7, _hidden",), 1, ""),
        (("192.0.2.7,",), 1, ""),
        (("192.0.2.7, 1.2.3.4.5",), 1, ""),
        (("192.0.2.7, <script>",), 1, ""),
    ],
)
def test_the_entry_of_the_outermost_trusted_proxy_counts(
    headers: tuple[str, ...], proxies: int, client: str
) -> None:
    sent = [(b"X-Forwarded-For", value.encode()) for value in headers]
    assert client_of([(b"host", b"localhost"), *sent], proxies) == client


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("last", ["192.0.2.7", "unknown"])
async def test_a_forged_header_does_not_evade_the_lockout(
    alice: User, last: str
) -> None:
    application = behind_proxies(ASGIHandler(), 1)
    statuses = []
    for number in range(settings.AXES_FAILURE_LIMIT + 1):
        transport = httpx.ASGITransport(application, client=("198.51.100.9", 1))
        async with httpx.AsyncClient(transport=transport) as client:
            page = await client.get(LOGIN)
            form = {
                "username": "alice",
                "password": "wrong",
                "csrfmiddlewaretoken": page.cookies["csrftoken"],
            }
            forged = {"X-Forwarded-For": f"203.0.113.{number}, {last}"}
            answer = await client.post(LOGIN, data=form, headers=forged)
            statuses.append(answer.status_code)
    assert statuses[-1] == 429
    assert statuses[0] == 200
