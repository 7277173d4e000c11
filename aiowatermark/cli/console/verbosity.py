"""Option `-v` of all commands: shows the library's log on stderr; twice, with every request."""

from __future__ import annotations

import logging

import click

_LEVELS = (logging.INFO, logging.DEBUG)
_LOGGER = logging.getLogger("aiowatermark")


_META = f"{__name__}.is_verbose"


def is_verbose() -> bool:
    """Whether the current command, or the group before it, was given -v."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_META))


class StderrHandler(logging.Handler):
    """Writes log lines to stderr, as it is at that moment: a progress bar puts lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, without control characters; a traceback follows on lines of its own."""
        try:
            for line in self.format(record).splitlines():
                text = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
                click.echo(click.style(text, dim=True), err=True)
        except Exception:  # noqa: BLE001 - as every handler of `logging` does
            self.handleError(record)


def _show_log(context: click.Context, _: click.Parameter, count: int) -> None:
    if not count or context.resilient_parsing:
        return
    context.meta[_META] = True
    level = _LEVELS[min(count, len(_LEVELS)) - 1]
    known = [handler for handler in _LOGGER.handlers if isinstance(handler, StderrHandler)]
    handler = known[0] if known else StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S"))
    if not known:
        _LOGGER.addHandler(handler)
    # given to the group and to the command: the more talkative one counts
    _LOGGER.setLevel(min(level, _LOGGER.level) if known else level)


def with_verbosity(command: click.Command) -> click.Command:
    """Return the command with the option `-v`."""
    if not any("-v" in parameter.opts for parameter in command.params):
        command.params.append(
            click.Option(
                ["-v", "--verbose"],
                count=True,
                expose_value=False,
                is_eager=True,
                callback=_show_log,
                help="Show what happens on stderr, one line per change of a job; -vv: every request, too.",
            )
        )
    return command
