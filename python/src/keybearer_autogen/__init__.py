"""AutoGen's side of Keybearer: agents call tools and run code on a host that holds the keys.

What belongs to a framework is imported when it is first used, so this imports with httpx alone. A part whose framework
isn't installed says which extra to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .access import Access
from .cancelling import cancellation
from .client import AsyncClient, Client
from .context import Context, calling
from .errors import ConfigurationError, HostTimeout, HostUnreachable, KeybearerError, NotAHost, Refused
from .factory import AgentFactory
from .grant import Grant, Minted
from .mint import AsyncTokenMint, TokenMint
from .token import Token

if TYPE_CHECKING:
    from .ag2 import KeybearerCodeEnvironment as KeybearerCodeEnvironment
    from .classic import KeybearerClassicCodeExecutor as KeybearerClassicCodeExecutor
    from .executor import KeybearerCodeExecutor as KeybearerCodeExecutor
    from .executor import KeybearerCodeResult as KeybearerCodeResult
    from .workbench import KeybearerWorkbench as KeybearerWorkbench

_LAZY = {
    "KeybearerClassicCodeExecutor": "classic",
    "KeybearerCodeEnvironment": "ag2",
    "KeybearerCodeExecutor": "executor",
    "KeybearerCodeResult": "executor",
    "KeybearerWorkbench": "workbench",
}

__all__ = [
    "Access",
    "AgentFactory",
    "AsyncClient",
    "AsyncTokenMint",
    "Client",
    "ConfigurationError",
    "Context",
    "Grant",
    "HostTimeout",
    "HostUnreachable",
    "KeybearerClassicCodeExecutor",
    "KeybearerCodeEnvironment",
    "KeybearerCodeExecutor",
    "KeybearerCodeResult",
    "KeybearerError",
    "KeybearerWorkbench",
    "Minted",
    "NotAHost",
    "Refused",
    "Token",
    "TokenMint",
    "__version__",
    "calling",
    "cancellation",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
