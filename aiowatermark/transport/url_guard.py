"""URL guard: limits the anonymous session to https and public addresses, or to loopback for a provider on loopback."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from ..errors import TransferFailed
from ..redaction import is_loopback, redact_url

# `is_global` is True for NAT64 addresses on some Python versions, but they can be translated to private IPv4 hosts
_NAT64_PREFIX = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddress(OSError):
    """The address of a URL's host is not public."""


class PermanentTransferError(TransferFailed):
    """A transfer that would fail again if it were repeated."""


def is_public(address: str) -> bool:
    """Whether an IP address, with or without a zone, belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64_PREFIX:
            return False
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    # some Python versions count multicast addresses as global
    return ip.is_global and not ip.is_multicast


def check_url(url: str, *, local: bool) -> None:
    """Raise PermanentTransferError unless the URL is https, or `local` is set and it is http on loopback."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and local and is_loopback(parts.hostname):
        return
    raise PermanentTransferError(f"{redact_url(url)} is not an https URL and is not requested")


def public_only_socket(info: tuple[Any, ...]) -> socket.socket:
    """Create the socket for an address aiohttp is about to connect to; raises ForbiddenAddress if it is not public.

    A custom resolver would not see IP literals. The connector's socket factory is called for every address it connects
    to, those of redirects and literals included.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise ForbiddenAddress(f"{address[0]} is not a public address")
    created = socket.socket(family, kind, protocol)
    created.settimeout(0)
    return created
