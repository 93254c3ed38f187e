"""What is asked of the host and what its answers mean. Nothing here opens a socket, reads a clock or the environment.

The sync and the async client drive the same :func:`exchange`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote

from .context import Context
from .errors import (
    ConfigurationError,
    HostTimeout,
    HostUnreachable,
    KeybearerError,
    NotAHost,
    Refused,
    RequestSent,
    Retry,
)

ANSWER_BYTES_MAX = 8 << 20
"""The largest answer that is read: a host sends at most 1 MiB of result."""

BODY_BYTES_MAX = 256 << 10
"""The largest body that is sent: no host takes more, and its answer to one that is far larger can get lost."""

GRACE_S = 5.0
"""How much longer than the deadline that the host was told this side waits, so that the host's own words arrive."""

_DETAIL_CHARACTERS_MAX = 8000
# What the host reads; it cuts a deadline to its own limit.
_DEADLINE_MS_MAX = 999_999_999
_PAUSE_S_MAX = 5.0
_MODEL_CALL = re.compile(r"[!-~]{1,128}", re.ASCII)


Step = TypeVar("Step")
Got = TypeVar("Got")
End = TypeVar("End")


@dataclass(frozen=True)
class Ask:
    """One request to the host. It holds no token: that is attached when the request is sent.

    Attributes:
        wait_s: How long an answer is waited for, over all attempts.
        deadline: Whether the host is told how long it has.
        reads: Whether it's a read of the host's own lists, as every GET is.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 30.0
    deadline: bool = False
    reads: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back, whole.

    Attributes:
        origin: The host's address, for errors.
        request_sent: Whether an upstream may have seen a request, if it turns out that this is no host's answer.
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    request_sent: RequestSent = "unknown"


@dataclass(frozen=True)
class Broken:
    """No answer: what the client saw of it."""

    kind: Literal["unreachable", "timeout", "garbled"]
    reason: str
    request_sent: RequestSent


@dataclass(frozen=True)
class Send:
    """A step of :func:`exchange`: send this, and wait so many seconds for all of the answer."""

    ask: Ask
    headers: Mapping[str, str]
    wait_s: float


@dataclass(frozen=True)
class Pause:
    """A step of :func:`exchange`: wait so many seconds."""

    seconds: float


Steps = Generator["Send | Pause", "Answer | Broken | None", Answer]


def exchange(ask: Ask, origin: str, *, retries: int, now: Callable[[], float]) -> Steps:
    """One request up to its answer, a generator of what to do.

    It is sent again only where the host said that nothing was sent upstream and that trying again is safe, and while
    time is left.

    Args:
        ask: The request.
        origin: The host's address, for errors.
        retries: How often it may be sent again.
        now: A clock that only goes forward, in seconds.

    Returns:
        An answer that isn't an error.

    Raises:
        KeybearerError: Anything else.
    """
    end = now() + ask.wait_s
    attempt = 0
    while True:
        left = max(end - now(), 0.001)
        headers = dict(ask.headers)
        if ask.deadline:
            headers |= deadline_header(left)
        got = yield Send(ask, headers, left + GRACE_S if ask.deadline else left)
        if isinstance(got, Broken):
            raise _broken(got, ask, origin)
        assert got is not None, "a request ends with an answer or without one"
        got = replace(got, origin=origin, request_sent=_may_have_sent(ask))
        if 200 <= got.status < 300:
            return got
        refusal = _refusal(got)
        pause = _pause(refusal, got, attempt)
        if pause is None or attempt >= retries or now() + pause >= end:
            raise refusal
        attempt += 1
        yield Pause(pause)


def advance(steps: Generator[Step, Got, End], got: Got) -> Step | End:
    """The next step of a generator of steps, or what it ends with. It begins with `None`."""
    try:
        return steps.send(got)
    except StopIteration as stop:
        end: End = stop.value
        return end


def deadline_header(seconds: float) -> dict[str, str]:
    """How long the host has, as it takes it."""
    return {"Keybearer-Deadline-Ms": str(max(int(min(seconds * 1000, _DEADLINE_MS_MAX)), 1))}


def list_tools() -> Ask:
    """The tools that the token may call."""
    return Ask("GET", "v1/tools", wait_s=10.0)


def call_tool(
    name: str, arguments: Mapping[str, Any] | None, context: Context, model_call: str | None, deadline_s: float
) -> Ask:
    """A call of a tool. Arguments that a model gave in another form go as they are: the host says what is wrong."""
    headers = context.headers() | _model_call(model_call)
    body = {} if arguments is None else dict(arguments) if isinstance(arguments, Mapping) else arguments
    return _posted(f"v1/tools/{_segment(name)}", body, headers, deadline_s, deadline=True)


def mcp(method: str, params: Mapping[str, Any], context: Context, deadline_s: float) -> Ask:
    """A request of the Model Context Protocol. The host keeps no session: each stands for itself."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
    ask = _posted("mcp", body, context.headers(), deadline_s, deadline=True)
    return replace(ask, reads=method == "tools/list")


def run_code(language: str, code: str, context: Context, timeout_s: float) -> Ask:
    """One block of code, in a sandbox of its own."""
    body = {"blocks": [{"language": language, "code": code}], "timeout_ms": max(int(timeout_s * 1000), 1)}
    return replace(_posted("v1/code", body, context.headers(), timeout_s + GRACE_S), deadline=False)


def mint_token(body: Mapping[str, Any]) -> Ask:
    """A new agent's token."""
    return _posted("v1/tokens", dict(body), {}, 15.0)


def revoke_token(token_id: str) -> Ask:
    """The end of a token."""
    return Ask("DELETE", f"v1/tokens/{_segment(token_id)}", wait_s=15.0)


def store_secret(user: str, label: str, secret: str) -> Ask:
    """A user's own secret, to be kept under a label."""
    ask = _posted(f"v1/users/{_segment(user)}/secrets/{_segment(label)}", {"secret": secret}, {}, 15.0)
    return replace(ask, method="PUT")


def read_json(answer: Answer) -> dict[str, Any]:
    """The object that the answer holds.

    Raises:
        NotAHost: It's none.
    """
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _not_a_host(answer)
    return value


def read_text(answer: Answer) -> str:
    """The JSON that the answer holds, as it came: what a model is shown.

    Raises:
        NotAHost: It isn't JSON.
    """
    if answer.media_type != "application/json":
        raise _not_a_host(answer)
    try:
        text = answer.body.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        raise _not_a_host(answer) from None
    return text


def read_mcp(answer: Answer) -> dict[str, Any]:
    """The result that an answer to :func:`mcp` holds.

    Raises:
        Refused: It holds the host's refusal.
        NotAHost: It holds neither.
    """
    message = read_json(answer)
    result, error = message.get("result"), message.get("error")
    if isinstance(result, dict):
        return result
    refused = _refused(error.get("data"), answer.status) if isinstance(error, dict) else None
    raise refused or _not_a_host(answer)


def _posted(path: str, body: Any, headers: Mapping[str, str], wait_s: float, *, deadline: bool = False) -> Ask:
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        # The error's text may hold what was to be sent; a lone surrogate's does.
        raise ConfigurationError("what is to be sent can't be written as JSON") from None
    if len(content) > BODY_BYTES_MAX:
        raise KeybearerError(
            "too_large",
            f"The call failed (too_large): what is to be sent has {len(content)} bytes, and a host takes at most "
            f"{BODY_BYTES_MAX}. Nothing was sent. Trying the same again won't help.",
        )
    return Ask("POST", path, content, {"Content-Type": "application/json", **headers}, wait_s, deadline)


def _segment(name: str) -> str:
    """One segment of a path, whatever the name is: it leads nowhere else."""
    if name in ("", ".", ".."):
        raise ConfigurationError("an empty name, or one that is only dots, names nothing on the host")
    try:
        return quote(name, safe="@:")
    except UnicodeEncodeError:
        raise ConfigurationError("a name that isn't text names nothing on the host") from None


def _model_call(call_id: str | None) -> dict[str, str]:
    """The model's own id of the call. Providers choose it, so one that doesn't fit a header goes as its digest."""
    if not call_id:
        return {}
    if not _MODEL_CALL.fullmatch(call_id):
        call_id = "sha256:" + hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
    return {"Keybearer-Model-Call": call_id}


def _broken(broken: Broken, ask: Ask, origin: str) -> HostUnreachable | HostTimeout | NotAHost:
    request_sent: RequestSent = "no" if broken.request_sent == "no" else _may_have_sent(ask)
    if broken.kind == "timeout" and broken.request_sent != "no":
        return HostTimeout(ask.wait_s, origin, request_sent)
    if broken.kind == "garbled":
        return NotAHost(broken.reason, origin, request_sent)
    return HostUnreachable(broken.reason, origin, request_sent)


def _may_have_sent(ask: Ask) -> RequestSent:
    """A read of the host's own lists sends nothing to anyone else."""
    return "no" if ask.reads or ask.method == "GET" else "unknown"


def _refusal(answer: Answer) -> Refused | NotAHost:
    """The error that an answer is. Only a problem in the host's own form is quoted."""
    problem = None
    if answer.media_type == "application/problem+json":
        try:
            problem = json.loads(answer.body)
        except (ValueError, RecursionError):
            pass
    return _refused(problem, answer.status) or _not_a_host(answer)


def _refused(problem: Any, status: int) -> Refused | None:
    """The refusal that a problem is, if it's one of a host."""
    if not isinstance(problem, dict) or not str(problem.get("type", "")).startswith("urn:keybearer:problem:"):
        return None
    code, detail, call = problem.get("code"), problem.get("detail"), problem.get("call")
    sent, retry = problem.get("request_sent"), problem.get("retry")
    if not isinstance(code, str) or not isinstance(detail, str):
        return None
    return Refused(
        code[:64],
        detail[:_DETAIL_CHARACTERS_MAX],
        status=status,
        request_sent=cast(RequestSent, sent) if sent in ("no", "yes", "unknown") else "unknown",
        retry=cast(Retry, retry) if retry in ("no", "safe", "check_first") else "no",
        call=call if isinstance(call, str) else None,
    )


def _not_a_host(answer: Answer) -> NotAHost:
    return NotAHost(_seen(answer), answer.origin, answer.request_sent)


def _pause(refusal: Refused | NotAHost, answer: Answer, attempt: int) -> float | None:
    """How long to wait before it's sent again, or that it isn't.

    A 429 isn't waited for: its window is a minute, an hour or a day.
    """
    safe = refusal.retry == "safe" and refusal.request_sent == "no"
    if not safe or answer.status not in (502, 503):
        return None
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit() and len(asked) < 6:
        return float(asked) if float(asked) <= _PAUSE_S_MAX else None
    return 0.2 * (attempt + 1)


def _seen(answer: Answer) -> str:
    if 300 <= answer.status < 400:
        return f"a redirect, status {answer.status}; it isn't followed, since the token would go along"
    media_type = answer.media_type if re.fullmatch(r"[\w.+-]{1,60}/[\w.+-]{1,60}", answer.media_type) else "no JSON"
    return f"status {answer.status}, {media_type}"
