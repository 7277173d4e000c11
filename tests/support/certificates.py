"""A self-signed certificate for servers of tests; it protects nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglw7T/WawPtMP3D21
ZnP2H7yhw78qZBuKhKbyi+1ZJAahRANCAAShwFETb9Dcu/qM+XEoMjL4dwzjOrh4
CE7KIVZTHRfC06r6xnVLrnLYUfOvOgG+qewco0p2fqdw/9Iq0bOqxbnC
-----END PRIVATE KEY-----
"""

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUErg+vjYqwE3H3vui0vDB6rmzM64wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzIyMTgxMFoYDzIxMjYxMTAz
MjIxODEwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAShwFETb9Dcu/qM+XEoMjL4dwzjOrh4CE7KIVZTHRfC06r6xnVLrnLY
UfOvOgG+qewco0p2fqdw/9Iq0bOqxbnCo1MwUTAdBgNVHQ4EFgQU8CgysuvqWVJR
yTHg0GgR+dGy9D4wHwYDVR0jBBgwFoAU8CgysuvqWVJRyTHg0GgR+dGy9D4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiB5iTYJUpMrskeWAxtrVh64
LylMaBTd/zWO7Q+p0oDZCgIhAOi2zTFKlKwPriGoEcbNN1Po1tvz/GREY//j4pO4
z3L9
-----END CERTIFICATE-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """A context for a TLS server; writes the certificate to `folder`."""
    path = folder / "server.pem"
    path.write_text(_KEY + _CERTIFICATE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """A context for clients that trust any server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
