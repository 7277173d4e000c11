"""Arguments of a client's calls: their types, and what is refused before anything else happens."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from ..callbacks.registry import CallbackRegistry, registry_of
from ..errors import InvalidInput
from ..media import Source
from ..media.base import Media
from ..options import Options
from ..provider import Provider
from ..providers import provider_class, provider_names
from ..redaction import redact_url
from ..results import Result
from ..suggestions import closest, forgotten_await
from .engine.build import validate_key
from .handle import JobHandle

_REDIS_SCHEMES = {"redis", "rediss", "unix", "sentinel"}
T = TypeVar("T")
SourceT = TypeVar("SourceT", bound=Source | Sequence[Source])
MediaArgument: TypeAlias = Source | Sequence[Source] | None
"""What a job is made of: one medium, several for providers that accept batches, or None where a session replaces it."""


def check_parties(provider: object, store: object, callbacks: Any) -> CallbackRegistry | None:
    """Return the registry of a client's callbacks.

    Raises InvalidInput, with the line that is right, for what cannot be a client's provider, store or callbacks.
    """
    if not isinstance(provider, Provider):
        raise InvalidInput(_provider_refusal(provider))
    if store is not None and (isinstance(store, type) or not hasattr(type(store), "__aenter__")):
        raise InvalidInput(f"store must be a store, not {_kind_of(store)}: store={_store_line(store)}")
    return None if callbacks is None else _registry_of(callbacks)


def _registry_of(callbacks: Any) -> CallbackRegistry:
    with suppress(AttributeError):
        if isinstance(registry := registry_of(callbacks), CallbackRegistry):
            return registry
    given, line = _kind_of(callbacks), _receiver_line(callbacks)
    raise InvalidInput(f"callbacks must be a receiver, not {given}: callbacks={line}")


def check_result(result: object) -> None:
    """Raise InvalidInput, with the line that is right, for what cannot be refined."""
    if isinstance(result, Result):
        return
    if isinstance(result, JobHandle):
        raise InvalidInput("refine takes a Result, not a JobHandle: client.refine(await handle, brush=…)")
    raise InvalidInput(forgotten_await(result) or f"refine takes a Result, not {type(result).__name__}")


def _kind_of(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return {"str": "a text"}.get(type(value).__name__, type(value).__name__)


def _provider_refusal(provider: object) -> str:
    """Return the message for what is not an account; a text may be an API key, so it is not shown."""
    if callable(getattr(provider, "provider", None)):
        return f'Client needs an account, not {_kind_of(provider)}: aw.Client(emulator.provider("picwish"))'
    kind = provider if isinstance(provider, type) else None
    if kind is None and (name := closest(provider, provider_names())) is not None:
        kind = provider_class(name)
    if kind is None or not issubclass(kind, Provider):
        return f'Client needs an account, not {_kind_of(provider)}: aw.Client(aw.PicWish(api_key="…"))'
    module = "aw." if kind.__module__.startswith(__name__.partition(".")[0]) else ""
    keys = ", ".join(f'{name}="…"' for name in kind.env)
    return f"Client needs an account, not {_kind_of(provider)}: aw.Client({module}{kind.__name__}({keys}))"


def _store_line(store: object) -> str:
    text = str(store) if isinstance(store, str | os.PathLike) else ""
    scheme = text.partition("://")[0]
    if scheme in _REDIS_SCHEMES or (isinstance(store, type) and store.__name__ == "RedisStore"):
        # the rest of the URL may hold a password
        return f'aw.RedisStore("{scheme if text else "redis"}://…")'
    return f'aw.SQLiteStore("{text if text and text.isprintable() and "://" not in text else "jobs.db"}")'


def _receiver_line(callbacks: object) -> str:
    is_url = isinstance(callbacks, str) and callbacks.startswith(("http://", "https://")) and callbacks.isprintable()
    url = redact_url(str(callbacks)) if is_url else "https://hooks.example.com/wm"
    return f'aw.CallbackReceiver("{url}")'


def known_key(key: str) -> str:
    """Return the key of a job that exists; raises InvalidInput for what cannot be one."""
    if key is None:
        raise InvalidInput("name the job by its key")
    return validate_key(key)


def merge_options(options: Mapping[str, Any] | None, named: Options) -> Mapping[str, Any]:
    """Return the options of a call from its `options=` and from those given by name; the latter take precedence.

    Raises InvalidInput if `options=` is not a mapping with names as keys.
    """
    if options is None:
        return {**named}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise InvalidInput(f'options must be a mapping such as {{"strength": 3}}, not {type(options).__name__}')
    return {**options, **named}


def is_source(value: object) -> bool:
    """Whether a value that may be a function or a source must be used as a source."""
    return isinstance(value, Media | AsyncIterable) or not callable(value) or callable(getattr(value, "read", None))
