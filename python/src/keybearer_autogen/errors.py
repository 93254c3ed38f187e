"""What can go wrong, in sentences that stand alone.

Every error has a `detail` for the agent's model, which names no address, and a text (`str(error)`) for whoever runs
the agent, which may. Neither holds a token or a secret.
"""

from __future__ import annotations

import re
from typing import Any, Literal

# What waits; sentences name other approvals too: used, expired, of other tokens, or given for something else.
_WAITS = re.compile(r"\bwaits as (apr_[0-9a-f]{24})\b|\b(apr_[0-9a-f]{24}) still waits\b", re.ASCII)

RequestSent = Literal["no", "yes", "unknown"]
Retry = Literal["no", "safe", "check_first"]


class KeybearerError(Exception):
    """A call that failed.

    Attributes:
        code: A stable code: the host's own (`denied`, `over_budget`, …), or one of this package's
            (`host_unreachable`, `host_timeout`, `not_a_host`, `not_configured`). What the host would refuse for
            its size isn't sent, and has the host's code `too_large`.
        detail: A sentence for the model: that the call failed, why, and whether to try again.
        request_sent: Whether an upstream may have seen a request of this call.
        retry: Whether the same call may be made again.
        call: The call's id in the host's audit trail, if it has one.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        request_sent: RequestSent = "no",
        retry: Retry = "no",
        call: str | None = None,
        note: str | None = None,
    ) -> None:
        super().__init__(detail if note is None else f"{detail} [{note}]")
        self.code = code
        self.detail = detail
        self.request_sent: RequestSent = request_sent
        self.retry: Retry = retry
        self.call = call

    @property
    def approval(self) -> str | None:
        """The approval that the call waits for, where a person has to agree first (`approval_required`): for whoever tells
        people, and for :func:`~keybearer_autogen.calling`, which brings it along once they have agreed. ``None`` where nothing
        waits: the approval that the call came back with was used, has expired, or was given to another token."""
        found = _WAITS.search(self.detail) if self.code == "approval_required" else None
        return None if found is None else found[1] or found[2]

    def __reduce__(self) -> tuple[Any, ...]:
        # Each kind is made from other arguments than an exception keeps.
        return _again, (type(self), self.args, self.__dict__)


class ConfigurationError(KeybearerError):
    """This process isn't set up: a variable is missing, an address is wrong. Nothing was sent anywhere."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_configured", _sentence("not_configured", reason, "Trying the same again won't help."))


class Refused(KeybearerError):
    """The host answered, and the answer is no. The text is the host's own."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        request_sent: RequestSent,
        retry: Retry,
        call: str | None,
    ) -> None:
        super().__init__(code, detail, request_sent=request_sent, retry=retry, call=call)
        self.status = status


class HostUnreachable(KeybearerError):
    """No connection to the host, or one that broke before the answer was there."""

    def __init__(self, reason: str, origin: str, request_sent: RequestSent) -> None:
        advice = (
            "Trying the same again won't help until the host can be reached."
            if request_sent == "no"
            else "Check what was done before you try again."
        )
        super().__init__(
            "host_unreachable",
            _sentence("host_unreachable", reason, _sent(request_sent), advice),
            request_sent=request_sent,
            retry="no" if request_sent == "no" else "check_first",
            note=origin,
        )


class HostTimeout(KeybearerError):
    """The host didn't answer in time, although it was told how long the caller waits."""

    def __init__(self, seconds: float, origin: str, request_sent: RequestSent = "unknown") -> None:
        reason = f"the Keybearer host did not answer within {seconds:g} s"
        advice = (
            "Trying the same again won't help until the host answers."
            if request_sent == "no"
            else "Check what was done before you try again."
        )
        super().__init__(
            "host_timeout",
            _sentence("host_timeout", reason, _sent(request_sent), advice),
            request_sent=request_sent,
            retry="no" if request_sent == "no" else "check_first",
            note=origin,
        )


class NotAHost(KeybearerError):
    """Something else than a Keybearer host answered. None of its words are repeated.

    It may be a proxy in front of the host, which gave up while the host was sending.
    """

    def __init__(self, reason: str, origin: str, request_sent: RequestSent = "unknown") -> None:
        advice = (
            "Trying the same again won't help until its address is right."
            if request_sent == "no"
            else "Check what was done before you try again."
        )
        super().__init__(
            "not_a_host",
            _sentence("not_a_host", f"what answered isn't a Keybearer host ({reason})", _sent(request_sent), advice),
            request_sent=request_sent,
            retry="no" if request_sent == "no" else "check_first",
            note=origin,
        )


def _again(kind: type[KeybearerError], args: tuple[Any, ...], state: dict[str, Any]) -> KeybearerError:
    """An error that was pickled or copied, with all that it had."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def _sentence(code: str, reason: str, *rest: str) -> str:
    return " ".join([f"The call failed ({code}): {reason}.", *rest])


def _sent(request_sent: RequestSent) -> str:
    return {
        "no": "Nothing was sent.",
        "yes": "A request was sent, and the upstream answered it.",
        "unknown": "A request may have been sent.",
    }[request_sent]
