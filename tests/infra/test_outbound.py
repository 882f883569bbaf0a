"""The guard of outgoing requests, with a real server and a resolver of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.openai_server import ModelServer
from workflows.infra.addresses import AddressRefused, Guard, is_public, origin_of
from workflows.infra.outbound import GuardedProxyTransport, transport_to

STRICT, OPEN = Guard(False, "ALLOW_PRIVATE"), Guard(True, "ALLOW_PRIVATE")
PUBLIC = "93.184.216.34"
Resolver = Callable[..., list[str]]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Return a function that sets the answers of the resolver for models.test, in turn."""
    asked: list[str] = []
    answers: list[tuple[str, ...]] = []
    real = socket.getaddrinfo

    def fake(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if host != "models.test":
            return real(host, port, *args, **options)
        asked.append(host)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [part for one in found for part in real(one, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", fake)

    def set_answers(*given: tuple[str, ...]) -> list[str]:
        answers[:] = given
        return asked

    return set_answers


async def get(url: str, guard: Guard) -> httpx.Response:
    transport = transport_to(url, guard, httpx.Limits())
    async with httpx.AsyncClient(
        transport=transport, trust_env=False, timeout=10
    ) as client:
        return await client.post(url, json={"messages": [{"content": "Hi"}]})


def named(server: ModelServer, host: str) -> str:
    """Return the address of the server with another host."""
    return f"http://{host}:{urlsplit(server.url).port}/v1/chat/completions"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "0.0.0.0", "0.1.2.3"),  # noqa: S104
        *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192", "198.18.0.1", "203.0.113.9", "240.0.0.1"),
        *("224.0.0.1", "239.255.255.250", "233.252.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "fd00:ec2::254",
            "ff0e::1",
        ),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2001:db8::1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::"),
    ],
)
def test_addresses_inside_of_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
        ),
        *("0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]", "127.0.0.1."),  # noqa: S104
    ],
)
async def test_no_notation_of_an_internal_address_is_connected_to(
    server: ModelServer, host: str
) -> None:
    with pytest.raises((AddressRefused, httpx.ConnectError)) as refused:
        await get(named(server, host), STRICT)
    if not host.endswith("."):  # no resolver knows this one
        assert isinstance(refused.value, AddressRefused)
        assert "ALLOW_PRIVATE" in str(refused.value)
    assert server.connections == 0


async def test_one_internal_address_in_a_list_of_public_ones_is_refused(
    server: ModelServer, resolve: Resolver
) -> None:
    resolve((PUBLIC, "127.0.0.1"))
    with pytest.raises(AddressRefused, match=r"models\.test"):
        await get(named(server, "models.test"), STRICT)
    assert server.connections == 0


async def test_the_connection_uses_the_checked_address(
    server: ModelServer, resolve: Resolver
) -> None:
    asked = resolve((PUBLIC,), ("127.0.0.1",))  # DNS rebinding
    with pytest.raises(httpx.ConnectError):  # tests reach no other machine
        await get(named(server, "models.test"), STRICT)
    assert asked == ["models.test"]
    assert server.connections == 0
    with pytest.raises(AddressRefused):  # the next connection is checked again
        await get(named(server, "models.test"), STRICT)


async def test_an_allowed_host_is_reached_by_its_name_at_the_address_that_responds(
    server: ModelServer, resolve: Resolver
) -> None:
    resolve(("127.0.0.9", "127.0.0.1"))  # nothing listens at the first
    answer = await get(named(server, "models.test"), OPEN)
    assert answer.status_code == 200
    assert server.requests[0].headers["host"].startswith("models.test:")


async def test_a_name_that_does_not_exist_is_an_error_of_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_args: Any, **_options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        httpx.ConnectError, match=r"“models\.test” could not be resolved"
    ):
        await get("http://models.test/", STRICT)


# Proxies of the environment -------------------------------------------------------------


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "models.test"])
async def test_requests_to_internal_addresses_are_refused_before_the_proxy(
    server: ModelServer, resolve: Resolver, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    resolve(("10.0.0.1",))
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    with pytest.raises(AddressRefused):
        await get(f"http://{host}/v1/chat/completions", STRICT)
    assert server.connections == 0


async def test_an_internal_proxy_receives_requests_to_public_hosts(
    server: ModelServer, resolve: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve((PUBLIC,))
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    await get("http://models.test/v1/chat/completions", STRICT)
    assert server.requests[0].headers["host"] == "models.test"


def test_no_proxy_of_the_environment_means_a_direct_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example.org")
    through = transport_to("https://models.test/v1", STRICT, httpx.Limits())
    direct = transport_to("https://a.internal.example.org", STRICT, httpx.Limits())
    assert isinstance(through, GuardedProxyTransport)
    assert not isinstance(direct, GuardedProxyTransport)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://LLM.example.org/v1", "https://llm.example.org:443"),
        ("http://[::1]/v1", "http://[::1]:80"),
        ("https://llm.example.org:8443", "https://llm.example.org:8443"),
        ("https://llm.example.org:99999", ""),
        ("ftp://llm.example.org", ""),
        ("https://", ""),
        ("https://[::1", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
