"""What calls say of themselves, each and all of a block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .errors import ConfigurationError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", re.ASCII)
_APPROVALS_MAX = 4


@dataclass(frozen=True)
class Context:
    """What a call says of itself. The agent's identity isn't in here: that is the token's.

    Each id is 1 to 128 letters, digits and any of `-_.:@`, starting with a letter or digit.

    Attributes:
        conversation: The conversation that the call is part of. Budgets, the recognition of repeated writes, and kill
            switches go by it. A token bound to a conversation refuses another.
        turn: The turn of the conversation; recorded.
        intent: Says that a write is meant, even if the same was made before in this conversation.
        approval: The approval (`apr_…`) that the call was given. Where what it sends was given one as well: up to four,
            with commas between them.
        wait_for_approval: Wait for a person. A call or code waits for three quarters of its time, so that the last one is there
            to run in; what it sends waits nearly up to its end.
    """

    conversation: str | None = None
    turn: str | None = None
    intent: str | None = None
    approval: str | None = None
    wait_for_approval: bool = False

    def __post_init__(self) -> None:
        for name in ("conversation", "turn", "intent", "approval"):
            value = getattr(self, name)
            if value is None:
                continue
            ids = [one.strip(" ") for one in value.split(",")] if name == "approval" else [value]
            if not all(_ID.fullmatch(one) for one in ids):
                raise ConfigurationError(
                    f"the {name} isn't valid: use 1 to 128 letters, digits and any of '-_.:@', starting with a letter "
                    "or digit"
                )
            if len(ids) > _APPROVALS_MAX:
                raise ConfigurationError(f"a call comes back with at most {_APPROVALS_MAX} approvals")

    def over(self, other: Context) -> Context:
        """This one, with `other` where this one says nothing."""
        return Context(
            conversation=self.conversation or other.conversation,
            turn=self.turn or other.turn,
            intent=self.intent or other.intent,
            approval=self.approval or other.approval,
            wait_for_approval=self.wait_for_approval or other.wait_for_approval,
        )

    def headers(self) -> dict[str, str]:
        """As the host takes it."""
        named = {
            "Keybearer-Conversation": self.conversation,
            "Keybearer-Turn": self.turn,
            "Keybearer-Intent": self.intent,
            "Keybearer-Approval": self.approval,
            "Keybearer-Approval-Wait": "yes" if self.wait_for_approval else None,
        }
        return {name: value for name, value in named.items() if value is not None}


_current: ContextVar[Context] = ContextVar("keybearer_context", default=Context())


@contextmanager
def calling(
    *,
    conversation: str | None = None,
    turn: str | None = None,
    intent: str | None = None,
    approval: str | None = None,
    wait_for_approval: bool = False,
) -> Iterator[Context]:
    """Says these of every call made inside, by this task and those it starts. It goes before what a component was
    given::

        with calling(turn="3"):
            await agent.run(task=…)

    A team with a runtime of your own (`SingleThreadedAgentRuntime`) handles its messages in tasks that `runtime.start()`
    started: for those, what was said around `start` holds, and what is said around `team.run` doesn't. Give the
    components of such a team their `conversation`, start the runtime outside of any such block, and say the rest inside
    the handler of a message.
    """
    context = Context(conversation, turn, intent, approval, wait_for_approval).over(_current.get())
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def current_context() -> Context:
    """What :func:`calling` says here and now."""
    return _current.get()
