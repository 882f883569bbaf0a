"""Guard for requests to addresses that users enter: which hosts may be connected to.

The rules follow the IANA registries of special-purpose addresses, with the addresses at
which clouds offer metadata and other services to their machines.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Not private by Python's table, but internal services of a cloud or of the IETF
INTERNAL: Final = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure
    ipaddress.ip_network("192.0.0.0/24"),  # with Oracle's metadata service
)
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # ends in an IPv4 address
IPV4_BITS: Final = 0xFFFFFFFF
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class AddressRefused(Exception):
    """A host has an address that the settings do not allow; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The allowed addresses, and the setting that allows more."""

    allow_private: bool
    setting: str  # named in messages

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Raise AddressRefused if any of the addresses of a host is not allowed."""
        if not self.allow_private and not all(map(is_public, addresses)):
            raise AddressRefused(
                f"“{host}” is a private, link-local or other internal address."
                f" Use a public address, or set {self.setting} on the server."
            )

    def check_host(self, host: str, port: int) -> None:
        """Raise AddressRefused for a host that would be refused now.

        Blocks while the name is resolved. A name that cannot be resolved passes: it is
        checked again on each connection.
        """
        if self.allow_private:
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        self.check_addresses(host, addresses_of(found))


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, such as `https://llm.example.org:443`.

    Return "" for a URL without them.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    if not parts.hostname or port is None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def is_public(text: str) -> bool:
    """Return whether an address, as text, is a global unicast address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(str(embedded))
        if address.is_site_local or address.is_reserved:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_unspecified
        and not any(address in network for network in INTERNAL)
    )


def _embedded(address: ipaddress.IPv6Address) -> Address | None:
    """Return the IPv4 address that packets to an IPv6 address end up at, if any."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour


def addresses_of(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the addresses of a result of getaddrinfo, each once, in its order."""
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
