"""Connection errors in words: what an error of aiohttp or of the operating system says to a person.

The text of such an error may hold a whole signed URL, or Python's form of an address, and its class name says little:
both are left to the debug log. Classes of aiohttp are named here and not imported: units without sockets use this, too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_NAME_NOT_FOUND = "the host name was not found"
_NOT_CONNECTED = "no connection was made"
_CLOSED = "the connection was closed before the answer was complete"
_MEANINGS: Mapping[str, str] = {
    "gaierror": _NAME_NOT_FOUND,
    "ClientConnectorDNSError": _NAME_NOT_FOUND,
    "ClientConnectorCertificateError": "the TLS certificate is not valid",
    "SSLCertVerificationError": "the TLS certificate is not valid",
    "ServerFingerprintMismatch": "the TLS certificate is not the expected one",
    "ClientSSLError": "the TLS handshake failed",
    "SSLError": "the TLS handshake failed",
    "ClientProxyConnectionError": "the proxy cannot be reached",
    "ClientHttpProxyError": "the proxy refused the connection",
    "ForbiddenAddress": "the address is not public",
    "ClientConnectorError": _NOT_CONNECTED,
    "TimeoutError": "timed out",
    "InvalidURL": "the URL is not valid",
    "ClientResponseError": "the answer is not valid HTTP",
    "ClientPayloadError": _CLOSED,
    "ServerDisconnectedError": "the connection was closed before the answer",
    "ConnectionResetError": _CLOSED,
    "ConnectionAbortedError": _CLOSED,
    "BrokenPipeError": _CLOSED,
    "ClientOSError": _CLOSED,
}
"""What an error of a class means; the most special class of an error counts."""


def connection_problem(error: BaseException) -> str:
    """Return what prevented a request or its answer, without its address and without a colon."""
    cause = getattr(error, "os_error", None) or error
    detail = _certificate_problem(error) or (os_reason(cause) if isinstance(cause, OSError) else "")
    # what failed while connecting is in the cause, unless the class of the error says it already
    kinds = (
        (type(cause), *type(error).__mro__) if type(error).__name__ == "ClientConnectorError" else type(error).__mro__
    )
    names = [kind.__name__ for kind in kinds]
    meaning = next((_MEANINGS[name] for name in names if name in _MEANINGS), "the connection failed")
    if meaning == _NOT_CONNECTED and detail:
        return detail  # "Connection refused" says it all
    return f"{meaning} ({detail})" if detail else meaning


def os_reason(error: OSError) -> str:
    """Return the operating system's words for an error; empty if it has none. asyncio's own hold Python tuples."""
    if isinstance(error, socket.gaierror):
        return error.strerror or ""
    if reason := getattr(error, "reason", None):  # of OpenSSL, such as WRONG_VERSION_NUMBER
        return str(reason).replace("_", " ").lower()
    return os.strerror(error.errno) if error.errno else ""


def _certificate_problem(error: BaseException) -> str:
    certificate = getattr(error, "certificate_error", error)
    return str(getattr(certificate, "verify_message", "")).replace(": ", ", ")
