"""What to say when a framework isn't there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Turns a missing framework into the name of what to install.

    Args:
        extra: The extra of this package that brings it.
        what: What needs it.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        module = (missing.name or "").split(".")[0]
        raise ModuleNotFoundError(
            f"{what} needs the package that has {module!r}, which isn't installed here: "
            f"pip install './python[{extra}]' in a checkout of Keybearer",
            name=missing.name,
        ) from missing
