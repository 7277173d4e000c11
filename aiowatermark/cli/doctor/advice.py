"""Advice of `doctor`: for each kind of failure one sentence that says what to do.

Three tables, because the same failure calls for different things at different ends: a provider that refuses connections
is the network's matter, a callback URL that does is one's own proxy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ... import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobNotFound,
    Provider,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    StoreError,
    TransferFailed,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ...callbacks.probe import ProbeVerdict
from ...redaction import is_loopback

_PROXY = {
    ProbeVerdict.PROXY_UNREACHABLE: "check the address in the proxy variables, or set NO_PROXY={host}",
    ProbeVerdict.PROXY_REFUSED: "check user and password in the proxy variables, and that the proxy permits {host}",
}
# the end that a provider is at: between this machine and the internet
_TO_PROVIDER: Mapping[ProbeVerdict, str] = {
    **_PROXY,
    ProbeVerdict.UNKNOWN_HOST: "check the spelling of the address, and the DNS of this machine",
    ProbeVerdict.REFUSED: "check the address and its port, and whether a firewall refuses connections to {host}",
    ProbeVerdict.UNREACHABLE: "check the network of this machine: there is no route to {host}",
    ProbeVerdict.TLS_FAILED: (
        "check the clock and the CA certificates of this machine; where a proxy inspects TLS, set SSL_CERT_FILE to its "
        "certificate"
    ),
    ProbeVerdict.TIMED_OUT: "permit connections to {host} in the firewall, or set HTTPS_PROXY to this network's proxy",
    ProbeVerdict.DISCONNECTED: "run doctor again; if it stays so, look at the firewall or proxy on the way to {host}",
    ProbeVerdict.REDIRECTED: "set --base-url to the address of the redirect",
    ProbeVerdict.BAD_GATEWAY: "wait some minutes and run doctor again: the servers behind {host} do not answer",
    ProbeVerdict.CHANGED: "check the proxies between this machine and {host}: one of them changes answers",
    ProbeVerdict.WRONG_SERVER: "check that {base_url} is the API of {name}, or a gateway to it",
}
_TO_EMULATOR: Mapping[ProbeVerdict, str] = {
    **_TO_PROVIDER,
    ProbeVerdict.REFUSED: "start `aiowatermark emulator`, and compare the port in {base_url} with the one it prints",
    ProbeVerdict.PROXY_UNREACHABLE: "set NO_PROXY={host}: requests to this machine must not go through a proxy",
    ProbeVerdict.PROXY_REFUSED: "set NO_PROXY={host}: requests to this machine must not go through a proxy",
}
# the way back in: from the internet through one's own proxy or tunnel to the callback server
_TO_CALLBACK_URL: Mapping[ProbeVerdict, str] = {
    **_PROXY,
    ProbeVerdict.UNKNOWN_HOST: "check the spelling and the DNS entry of {host}",
    ProbeVerdict.REFUSED: "start the proxy or tunnel on {host}, and check the port in the URL",
    ProbeVerdict.UNREACHABLE: "check the DNS entry of {host} and the network between this machine and it",
    ProbeVerdict.TLS_FAILED: "check the certificate of the proxy and its chain, and that this port speaks TLS",
    ProbeVerdict.TIMED_OUT: "open the port in the firewall, and check that the proxy is not waiting for another server",
    ProbeVerdict.DISCONNECTED: "check that {host} speaks HTTP at this port, and read the log of the proxy there",
    ProbeVerdict.REDIRECTED: "set --callback-url to the address of the redirect",
    ProbeVerdict.BAD_GATEWAY: "configure the proxy to forward to {where}",
    ProbeVerdict.CHANGED: "configure the proxy to forward the path and to return the answer unchanged",
    ProbeVerdict.WRONG_SERVER: "configure the server that answers at {host} to forward this path to {where}",
}
_TO_ERROR: Mapping[type[WatermarkError], str] = {
    AuthenticationError: "set {variables} to the key that {name}'s console shows now: this one is not accepted",
    InsufficientCredits: "add credits to your {name} account",
    RateLimited: "wait a minute and run doctor again: other programs use up the rate of this account",
    DeadlineExceeded: "run doctor again; if it stays so, look at the firewall or proxy on the way to {host}",
    ProviderUnavailable: "wait some minutes and run doctor again: {name} answers, but with an error of its own",
    UnexpectedAnswer: "check that {base_url} is the API of {name}; if it is, update aiowatermark",
    JobNotFound: "check that {base_url} is the API of {name}, or a gateway to it",
    Rejected: "do what the answer says, or ask the support of {name}",
    TransferFailed: "look at the firewall or proxy on the way to {host}",
    StoreError: "use another --store, or repair this one",
    Unsupported: "use another provider: {name} has no call for this",
    InvalidInput: "correct the value that the message names",
    WatermarkError: "do what the message says, or ask the support of {name}",
}
_EMULATOR_KEY = "set {variables} to the key that `aiowatermark emulator` prints at its start"


def advice_for_error(error: WatermarkError, provider: Provider) -> str:
    """Return what to do about an error of a provider."""
    # the table names every class of the tree, and the most special one counts
    kind = next(each for each in type(error).__mro__ if each in _TO_ERROR)
    if kind is AuthenticationError and _is_local(provider):
        return _fill(_EMULATOR_KEY, provider)
    return _fill(_TO_ERROR[kind], provider)


def advice_for_provider(verdict: ProbeVerdict, provider: Provider) -> str:
    """Return what to do if the address of a provider does not answer as it should."""
    return _fill((_TO_EMULATOR if _is_local(provider) else _TO_PROVIDER)[verdict], provider)


def advice_for_callback(verdict: ProbeVerdict, url: str, where: str) -> str:
    """Return what to do if a callback URL does not lead to this machine; `where` is host and port of the server."""
    return _TO_CALLBACK_URL[verdict].format(host=urlsplit(url).hostname, where=where)


def _is_local(provider: Provider) -> bool:
    return is_loopback(urlsplit(provider.base_url).hostname)


def _fill(text: str, provider: Provider) -> str:
    return text.format(
        name=provider.display_name,
        variables=" and ".join(provider.env.values()),
        base_url=provider.base_url,
        host=urlsplit(provider.base_url).hostname,
    )
