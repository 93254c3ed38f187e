"""A user's own secrets: taken out of messages before a model sees them, and out of logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .detect import Found, find
from .filter import SecretFilter, SecretNotStored
from .redact import RedactingFilter, RedactingFormatter, redact, redact_logs

if TYPE_CHECKING:
    from .context import SecretFreeContext as SecretFreeContext

__all__ = [
    "Found",
    "RedactingFilter",
    "RedactingFormatter",
    "SecretFilter",
    "SecretFreeContext",
    "SecretNotStored",
    "find",
    "redact",
    "redact_logs",
]


def __getattr__(name: str) -> Any:
    if name == "SecretFreeContext":
        from .context import SecretFreeContext

        return SecretFreeContext
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
