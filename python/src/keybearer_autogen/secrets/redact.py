"""Takes secrets out of what is logged. Nothing is kept: `[REDACTED]` stands in their place."""

from __future__ import annotations

import logging

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


def redact_logs(logger: logging.Logger | None = None) -> None:
    """Redacts what all handlers of a logger write from now on.

    Args:
        logger: The logger; the root one if left out. Handlers that are added later have to be given a
            :class:`RedactingFormatter` of their own.
    """
    for handler in (logger or logging.getLogger()).handlers:
        if not isinstance(handler.formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(handler.formatter))
