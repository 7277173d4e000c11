"""URL guard: limits the anonymous session to https and public addresses, or to loopback for a provider on loopback.

Two checks, both for every hop of a redirect:

    request_url                 the URL: its scheme, host and port, before it is requested
    create_permitted_socket     the address, after the host's name was resolved and before it is connected to

An IPv6 address is public only if it is global unicast (2000::/3) and does not stand for an IPv4 address that is not
public. So the forms that embed one (mapped, compatible, translated, 6to4, Teredo, NAT64), site-local, documentation,
SRv6 and discard addresses need no list of their own, and neither do those that will be assigned.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from yarl import URL

from ..errors import TransferFailed
from ..redaction import is_loopback, redact_url

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# within global unicast: protocol assignments with Teredo and benchmarking, and the ranges for documentation
_NOT_PUBLIC_V6 = [ipaddress.ip_network(each) for each in ("2001::/23", "2001:db8::/32", "3fff::/20")]
# some Python versions count these as global: relays of 6to4, protocol assignments
_NOT_PUBLIC_V4 = [ipaddress.ip_network(each) for each in ("192.88.99.0/24", "192.0.0.0/24")]
_MAX_HOST = 253
# everything that RFC 3986 does not allow in a URL
_ILLEGAL = re.compile(r"[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")


class ForbiddenAddress(OSError):
    """The address of a URL's host is not public."""


class PermanentTransferError(TransferFailed):
    """A transfer that would fail again if it were repeated."""


def is_public(address: str) -> bool:
    """Whether an IP address, with or without a zone, belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is None:
            return ip in _GLOBAL_UNICAST and not any(ip in network for network in _NOT_PUBLIC_V6)
        ip = embedded
    # some Python versions count multicast addresses as global
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC_V4)


def is_forbidden_literal(host: str, *, local: bool) -> bool:
    """Whether a host is an IP address that may not be connected to; names are not resolved."""
    try:
        return not is_public(host) and not (local and _is_loopback_address(host))
    except ValueError:
        return False


def request_url(url: str, *, local: bool) -> URL:
    """Return a URL as it is requested: byte for byte, with illegal characters escaped.

    Raises PermanentTransferError unless it is https, or `local` is set and it is http on loopback, and for a host or
    port that no URL can have.
    """
    try:
        parts = urlsplit(url)
        host = _ascii_host(parts)
    except ValueError:
        raise PermanentTransferError(f"{redact_url(url)} is not a valid URL and is not requested") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and local and is_loopback(host)):
        raise PermanentTransferError(f"{redact_url(url)} is not an https URL and is not requested")
    rest = url[url.index("//") + 2 + len(parts.netloc) :] if parts.netloc in url else f"{parts.path}?{parts.query}"
    user, at, _ = parts.netloc.rpartition("@")
    port = "" if parts.port is None else f":{parts.port}"
    shown_host = f"[{host}]" if ":" in host else host
    return URL(f"{parts.scheme}://{_escape(user)}{at}{shown_host}{port}{_escape(rest)}", encoded=True)


def _ascii_host(parts: SplitResult) -> str:
    """Return the host as it is resolved; raises ValueError for a host or port that cannot exist."""
    host = (parts.hostname or "").encode("idna").decode()
    _ = parts.port
    if ":" in host:
        ipaddress.IPv6Address(host)
    elif len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
        raise ValueError
    return host


def _escape(text: str) -> str:
    return _ILLEGAL.sub(lambda match: quote(match[0], safe="", errors="surrogatepass"), text)


def create_permitted_socket(info: tuple[Any, ...], *, local: bool) -> socket.socket:
    """Create the socket for an address aiohttp is about to connect to; raises ForbiddenAddress if it is not permitted.

    Public addresses are permitted, and if `local` is set, those of loopback too. A custom resolver would not see IP
    literals. The connector's socket factory is called for every address it connects to, redirects and literals
    included.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]) and not (local and _is_loopback_address(address[0])):
        raise ForbiddenAddress(f"{address[0]} is not a public address")
    created = socket.socket(family, kind, protocol)
    created.settimeout(0)
    return created


def _is_loopback_address(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
