"""The child process that sends one message to a chat with Apprise.

Apprise and its plugins make requests of their own, with other libraries than ours. An audit
hook of the interpreter sees each connection that any of them opens, after its host name was
resolved, and refuses addresses that the settings do not allow. It can't be removed and slows
everything else, so that it is in a process of its own, which also ends what takes too long.

Reads a JSON object from standard input (`address`, `allow_private`, and `title` and `body`
of a message, without which the address is only checked) and writes one with `error`, a
sentence or "", and `shown`, the address without its secrets.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import urllib.request
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from workflows.infra.addresses import (
    DEFAULT_PORTS,
    AddressRefused,
    Guard,
    addresses_of,
)

MISSING: Final = "Chats need the packages of requirements-apprise.txt on the server."
INVALID: Final = (
    "The address is not one of its service: see the documentation of Apprise."
)
MAX_ERROR_CHARS: Final = 200
ANY_SERVER: Final = frozenset(
    {
        *("form", "forms", "json", "jsons", "xml", "xmls"),
        *("matrix", "matrixs"),  # its path may be the token of a webhook
    }
)
FAMILIES: Final = {socket.AF_INET, socket.AF_INET6}


class Connections:
    """Refuses connections to addresses that are not allowed."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._proxies = _proxy_addresses()
        self.refusal = ""
        sys.addaudithook(self._check)

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise AddressRefused for a connection that is not allowed."""
        if event != "socket.connect" or arguments[0].family not in FAMILIES:
            return
        host = str(arguments[1][0]).partition("%")[0]
        if host in self._proxies:
            return
        try:
            self._guard.check_addresses(host, [host])
        except AddressRefused as error:
            self.refusal = str(error)
            raise
        except ValueError:  # a name: it was not resolved before
            self.refusal = f"“{host}” is not an address."
            raise AddressRefused(self.refusal) from None


def _proxy_addresses() -> set[str]:
    """Return the addresses of the environment's proxies, which may be any."""
    found: set[str] = set()
    for url in urllib.request.getproxies_environment().values():
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 80)
        try:
            rows = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            continue  # a connection to it fails as well
        found.update(addresses_of(rows))
    return found


class Refused(Exception):
    """The message can't be sent; the text is a sentence."""


def process(request: dict[str, Any]) -> dict[str, str]:
    """Check an address and send its message, if there is one."""
    guard = Guard(request["allow_private"], "ALLOW_PRIVATE_WEBHOOKS")
    try:
        service = _service_of(request["address"])
        # a proxy would resolve the name itself
        host = str(getattr(service, "host", "") or "").strip("[]")
        guard.check_host(host, DEFAULT_PORTS["https"])
        if "title" in request:
            _send(service, guard, request)
    except (Refused, AddressRefused) as error:
        return {"error": str(error), "shown": ""}
    return {"error": "", "shown": without_secrets(service)}


def without_secrets(service: Any) -> str:
    """Return what can be shown of the address of a service.

    Apprise leaves the path as it is where any server can be the receiver: it may be a secret.
    """
    shown = str(service.url(privacy=True)).partition("?")[0]
    parts = urlsplit(shown)
    if parts.scheme not in ANY_SERVER:
        return shown
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"


def _apprise() -> Any:
    """Return the package, which is optional. Raises Refused."""
    try:
        return import_module("apprise")
    except ImportError:
        raise Refused(MISSING) from None


def _service_of(address: str) -> Any:
    """Return the service of an address. Raises Refused."""
    service = _apprise().Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        raise Refused(INVALID)
    if not service.verify_certificate:
        raise Refused("An address without verification of certificates is refused.")
    return service


def _send(service: Any, guard: Guard, request: dict[str, Any]) -> None:
    """Send a message. Raises Refused."""
    apprise, connections = _apprise(), Connections(guard)
    chat = apprise.Apprise()
    chat.add(service)
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
        is_sent = chat.notify(title=request["title"], body=request["body"])
        first = log.getvalue().partition("\n")[0].strip().rstrip(".")
    if not is_sent:
        reason = connections.refusal or first[:MAX_ERROR_CHARS] or "no reason is known"
        raise Refused(f"The message was not sent: {reason.rstrip('.')}.")


if __name__ == "__main__":
    json.dump(process(json.load(sys.stdin)), sys.stdout)
