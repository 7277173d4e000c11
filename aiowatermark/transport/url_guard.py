"""Where the bare session may go: https and public addresses, or this machine where the provider is on it."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from ..errors import TransferFailed
from ..redaction import is_loopback, redact_url

# is_global passes these two on some Pythons: translated and multicast addresses reach private hosts
_NAT64_PREFIXES = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddress(OSError):
    """A link leads to an address that is nobody's public host."""


class PermanentTransferError(TransferFailed):
    """A transfer that no repetition mends."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64_PREFIXES:
            return False
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


def check_url(url: str, *, local: bool) -> None:
    """Raise Refused for a link that is neither https nor, where the provider is local, on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and local and is_loopback(parts.hostname):
        return
    raise PermanentTransferError(f"{redact_url(url)} is no https link: it is not fetched")


def public_only_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address aiohttp is about to connect to; raises ForbiddenAddress where it is not public.

    The connector asks for every real address, those of redirects and literal ones included.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise ForbiddenAddress(f"{address[0]} is not a public address")
    made = socket.socket(family, kind, protocol)
    made.settimeout(0)
    return made
