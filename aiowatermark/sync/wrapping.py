"""Makes synchronous classes of asynchronous ones: what is awaited there is waited for here.

    in the async class                       in the synchronous one
    coroutine function                       runs on the loop; the caller waits
    function that returns an awaitable       the same
    function, async generator function       runs on the loop
    function named in CALLABLE_ANYWHERE      runs in the caller's thread
    property, attribute                      read in the caller's thread

Arguments that are synchronous objects are replaced by the asynchronous ones that they wrap, and values the other way
round. The stub `client.pyi` says the same to type checkers; a test makes it from the async classes again.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Any, ClassVar, Self, TypeVar

from attrs import fields

from .iteration import iterate
from .loop_thread import LoopThread

ClassT = TypeVar("ClassT", bound="type[Wrapper]")
ValueT = TypeVar("ValueT", bound=type)

CALLABLE_ANYWHERE = {"done", "stats"}
"""Functions that only read, and may be called when the client is closed."""
_COUNTERPARTS: dict[type, Callable[[Any, LoopThread], Any]] = {}


class Wrapper:
    """An object of an asynchronous class, and the thread on whose loop its methods run."""

    __slots__ = ("__weakref__", "_thread", "_wrapped")
    async_class: ClassVar[type]

    def __init__(self, wrapped: Any, thread: LoopThread) -> None:
        self._attach(wrapped, thread)

    def _attach(self, wrapped: Any, thread: LoopThread) -> None:
        self._wrapped = wrapped
        self._thread = thread

    @classmethod
    def wrapping(cls, wrapped: Any, thread: LoopThread) -> Self:
        """Return the counterpart of an asynchronous object that exists, whatever the constructor takes."""
        self = cls.__new__(cls)
        self._attach(wrapped, thread)
        return self

    def __repr__(self) -> str:
        """That of the asynchronous object."""
        return repr(self._wrapped)

    @property
    def _open_thread(self) -> LoopThread:
        """The thread to run on."""
        return self._thread

    def _run(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        """Call a method of the asynchronous object on its loop."""
        thread = self._open_thread
        method = getattr(self._wrapped, name)
        arguments = tuple(map(unwrap, arguments))
        options = {option: unwrap(value) for option, value in options.items()}

        async def call() -> Any:
            value = method(*arguments, **options)
            # a JobHandle is returned and not awaited
            return await value if inspect.isawaitable(value) and type(value) not in _COUNTERPARTS else value

        return wrap(thread.run(call), thread)


def wrap(value: Any, thread: LoopThread) -> Any:
    """Return the synchronous counterpart of a value; the value itself if it has none."""
    if (counterpart := _COUNTERPARTS.get(type(value))) is not None:
        return counterpart(value, thread)
    if isinstance(value, list):
        return [wrap(each, thread) for each in value]
    if isinstance(value, AsyncGenerator):
        return iterate(thread, value, lambda each: wrap(each, thread))
    return value


def unwrap(value: Any) -> Any:
    """Return the asynchronous object behind a synchronous one; any other value itself."""
    return value._wrapped if isinstance(value, Wrapper) else value  # noqa: SLF001 - of this module


def synchronous(async_class: type) -> Callable[[ClassT], ClassT]:
    """Give a class the public members of an async class that it does not define itself; a decorator."""

    def decorate(cls: ClassT) -> ClassT:
        cls.async_class = async_class
        for name in dir(async_class):
            if not name.startswith("_") and name not in vars(cls):
                setattr(cls, name, _counterpart(name, inspect.getattr_static(async_class, name)))
        _COUNTERPARTS[async_class] = cls.wrapping
        return cls

    return decorate


def synchronous_value(async_class: type) -> Callable[[ValueT], ValueT]:
    """Register a subclass of an attrs class whose fields hold synchronous objects; a decorator."""

    def decorate(cls: ValueT) -> ValueT:
        def convert(value: Any, thread: LoopThread) -> Any:
            return cls(**{each.alias: wrap(getattr(value, each.name), thread) for each in fields(async_class)})

        _COUNTERPARTS[async_class] = convert
        return cls

    return decorate


def _counterpart(name: str, member: Any) -> Any:
    if inspect.isfunction(member):
        return _method(name, member)
    settable = isinstance(member, property) and member.fset is not None
    return attribute(name, member.__doc__, settable=settable)


def _method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Wrapper, /, *arguments: Any, **options: Any) -> Any:
        return self._run(name, *arguments, **options)

    @wraps(function)
    def direct(self: Wrapper, /, *arguments: Any, **options: Any) -> Any:
        return getattr(self._wrapped, name)(*arguments, **options)

    return direct if name in CALLABLE_ANYWHERE else method


def attribute(name: str, doc: str | None = None, *, settable: bool = False) -> property:
    """Return a property that reads an attribute of the asynchronous object."""

    def read(self: Wrapper) -> Any:
        return wrap(getattr(self._wrapped, name), self._thread)

    def write(self: Wrapper, value: Any) -> None:
        setattr(self._wrapped, name, value)

    return property(read, write if settable else None, doc=doc)
