"""Takes secrets out of what is logged. Nothing is kept: `[REDACTED]` stands in their place."""

from __future__ import annotations

import logging
import sys
from copy import copy
from typing import Any

from ..errors import ConfigurationError
from .detect import find

REDACTED = "[REDACTED]"


def redact(text: str) -> str:
    """The text with everything that looks like a secret cut out: keys by their shape, `Bearer …`, `password: …`."""
    pieces, at = [], 0
    for found in find(text, broad=True):
        pieces += [text[at : found.start], REDACTED]
        at = found.end
    return "".join([*pieces, text[at:]])


class RedactingFormatter(logging.Formatter):
    """Formats a record as another formatter does, and redacts the whole line: message, arguments, traceback.

    Args:
        inner: The other formatter.
    """

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """The redacted line."""
        return redact(self._inner.format(record))


class RedactingFilter(logging.Filter):
    """Redacts a record itself, for a handler that hands it on as it is rather than as a line: to a socket, a queue, a
    collector of logs or errors.

    Its message, its traceback and what `extra` gave as text are redacted; an exception is in it as text alone. A record
    without secrets is left as it was. Before Python 3.12 a filter can't put a copy in a record's place: whoever handles
    the record afterwards gets it redacted as well.
    """

    def filter(self, record: logging.LogRecord) -> Any:
        """The record to handle: always one."""
        changed: dict[str, Any] = {}
        before = _message(record)
        if (message := redact(before)) != before:
            changed |= {"msg": message, "args": None}
        trace = record.exc_text or _trace(record)
        if (redacted := redact(trace)) != trace:
            changed |= {"exc_text": redacted, "exc_info": None}
        for name, value in vars(record).items():
            if name not in _OWN and isinstance(value, str) and (redacted := redact(value)) != value:
                changed[name] = redacted
        if changed and sys.version_info >= (3, 12):
            record = copy(record)
        vars(record).update(changed)
        return record if sys.version_info >= (3, 12) else True


def redact_logs(logger: logging.Logger | None = None) -> None:
    """Redacts what all handlers of a logger write, or hand on, from now on. Call it after logging was set up.

    Args:
        logger: The logger; the root one if left out. Handlers that are added later have to be given a
            :class:`RedactingFormatter` and a :class:`RedactingFilter` of their own, or this is called once more.

    Raises:
        ConfigurationError: The logger has no handlers, so there's nothing to redact.
    """
    logger = logger or logging.getLogger()
    if not logger.handlers:
        raise ConfigurationError(
            f"the logger {logger.name!r} has no handlers that could be redacted: call redact_logs after logging was set "
            "up, with the logger that has the handlers"
        )
    for handler in logger.handlers:
        if not isinstance(handler.formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(handler.formatter))
        if not any(isinstance(one, RedactingFilter) for one in handler.filters):
            handler.addFilter(RedactingFilter())


_PLAIN = logging.Formatter()
# What a record has by itself, and is dealt with or no text of anybody's.
_OWN = (frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}) - {"stack_info"}


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments, also where they don't fit: logging itself would print all of them."""
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg} {record.args!r}"


def _trace(record: logging.LogRecord) -> str:
    """The exception that it tells of, if it does, as a formatter writes it."""
    caught = record.exc_info
    return _PLAIN.formatException(caught) if isinstance(caught, tuple) and caught[0] is not None else ""
