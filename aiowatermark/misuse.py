"""Answers wrong uses of objects with the right line, where Python's own message names neither.

Type checkers report these uses by themselves, so they do not see the methods here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from .errors import InvalidInput


class AsyncOnly:
    """What is opened with `async with`, and says so in `with`."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            """Raise InvalidInput."""
            name = type(self).__name__
            raise InvalidInput(
                f"{name} is asynchronous: `async with aw.{name}(…) as {name.removeprefix('Callback').lower()}:`"
            )

        def __exit__(self, *exc: object) -> None:
            """Do nothing: nothing was opened."""


class NotAwaitable:
    """What is not awaited: `_called` is what it is called in the message, `_right_line` what to write."""

    __slots__ = ()
    _called: ClassVar[str]
    _right_line: ClassVar[str]

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            """Raise InvalidInput."""
            raise InvalidInput(f"{self._called} is not awaited: {self._right_line}")
