"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from django.http import HttpRequest

NOBODY: Final = "0.0.0.0"  # noqa: S104 - an address that nobody has; nothing listens
HOUSEHOLD: Final = 64  # bits of an IPv6 address; who has one has all behind these


def address_of(request: HttpRequest) -> str:
    """Return the address of whoever asks, NOBODY if it is none.

    The server has put the one that a trusted proxy tells into REMOTE_ADDR. What belongs
    to one IPv6 household counts as one: it could take another address for each request.
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return NOBODY
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), HOUSEHOLD), strict=False)[0])
