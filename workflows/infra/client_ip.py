"""The client address of a request, for limits per client."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from django.http import HttpRequest

UNKNOWN: Final = "0.0.0.0"  # noqa: S104 - no client has it; nothing listens
IPV6_PREFIX_BITS: Final = 64  # of a network that one client controls as a whole


def address_of(request: HttpRequest) -> str:
    """Return the client's address, UNKNOWN if REMOTE_ADDR is none.

    REMOTE_ADDR is the address that trusted proxies forward (`project.forwarded_addresses`). An IPv6
    network counts as one client: it could use another address for each request.
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX_BITS), strict=False)[0])
