"""What a token is to allow, and what was minted for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .errors import ConfigurationError
from .token import Token


@dataclass(frozen=True)
class Grant:
    """What a token may do, and for whom it is. What isn't named isn't allowed.

    Attributes:
        agent: The agent's name, as the audit trail and policies know it.
        tools: Tools it may call; `*` for all.
        operations: Operations it may use: `stripe:get_invoice`, `stripe:*`.
        budgets: Limits of its own, as the host takes them: `{"limit": 5000, "unit": "usd", "window": "day"}`.
        role: The role that policies ask for.
        task: What it is for, in words; recorded.
        environment: The environment of the tenant; the operator token's own if left out. Another one takes an operator's
            token for every environment.
        may_delegate: Whether its holder may hand on a part.
        user: The person on whose behalf it acts: connections that use a user's own secret use this one's.
        may_store_secrets: Whether it may store secrets of that person.
        expires_in_seconds: When it ends, whatever happens. From 1 s to 365 days.
    """

    agent: str
    tools: Sequence[str] = ()
    operations: Sequence[str] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    role: str | None = None
    task: str | None = None
    environment: str | None = None
    may_delegate: bool = False
    user: str | None = None
    may_store_secrets: bool = False
    expires_in_seconds: int = 3600

    def __post_init__(self) -> None:
        for name in ("tools", "operations", "budgets"):
            # A text is a list as well, of letters.
            if isinstance(getattr(self, name), (str, bytes, Mapping)):
                raise ConfigurationError(f"{name} is a list, also of one: write {name}=[…]")

    def body(self, conversation: str | None) -> dict[str, Any]:
        """The request for such a token. What says nothing is left out."""
        wanted: dict[str, Any] = {
            "agent": self.agent,
            "tools": list(self.tools),
            "operations": list(self.operations),
            "budgets": [dict(budget) for budget in self.budgets],
            "role": self.role,
            "task": self.task,
            "environment": self.environment,
            "may_delegate": self.may_delegate,
            "user": self.user,
            "may_store_secrets": self.may_store_secrets,
            "conversation": conversation,
        }
        given = {name: value for name, value in wanted.items() if value not in (None, False, [])}
        return {**given, "expires_in_seconds": self.expires_in_seconds}


class Connection(TypedDict):
    """What the components of this package take to act with a token: `KeybearerWorkbench(**minted.connection)`."""

    url: str
    token: Token
    ca_file: str | None
    insecure_http: bool
    conversation: str | None


@dataclass(frozen=True)
class Minted:
    """A token that was minted.

    Attributes:
        token: The token; its text is shown by `token.reveal()` alone.
        id: Its public id (`tok_…`), which is no credential.
        agent: The agent it is for.
        role: Its role.
        conversation: The conversation it is bound to.
        expires_at: When it ends, in milliseconds since 1970-01-01T00:00:00Z.
        connection: What components take to act with it.
    """

    token: Token
    id: str
    agent: str
    role: str | None
    conversation: str | None
    expires_at: int
    connection: Connection = field(repr=False)
