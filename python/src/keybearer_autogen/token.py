"""A token in this process: usable, but not printable."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

from .errors import ConfigurationError

# What the host mints: `kbt_` for agents, `kbo_` for operators, then 256 random bits in base64url. What it mints for
# monitors (`kbm_`) only looks, which nothing here does.
_SHAPE = re.compile(r"kb([to])_[A-Za-z0-9_-]{16,128}", re.ASCII)


class Token:
    """A capability token, kept out of everything that is printed, logged or stored.

    `str`, `repr` and formatting show its kind alone; pickling is refused. The one way to the text is :meth:`reveal`.

    Args:
        text: The token, as the host minted it. Spaces and line ends around it are taken off.

    Raises:
        ConfigurationError: It's neither an agent's token nor an operator's. The text isn't repeated.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        if not _SHAPE.fullmatch(self._text):
            raise ConfigurationError(
                "what was given is neither an agent's token (kbt_…) nor an operator's (kbo_…). `keybearer token mint` "
                "makes one"
            )

    def reveal(self) -> str:
        """The token itself."""
        return self._text

    @property
    def is_operator(self) -> bool:
        """Whether it's an operator's token, which mints others, rather than an agent's."""
        return self._text.startswith("kbo_")

    def __repr__(self) -> str:
        return f"Token({self._text[:4]}…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Token:
        return self

    def __deepcopy__(self, memo: object) -> Token:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token isn't pickled: give the other process a token of its own, or a variable's name")
