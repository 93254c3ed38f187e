"""The clients, sync and async: a thin layer of httpx below the exchange that both share.

No proxy, certificate or password is taken from the environment (`trust_env=False`): a proxy that some other program
needs would get to see the token, on loopback too. Redirects aren't followed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import Coroutine, Generator, Mapping
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar
from weakref import ref

import httpx

from . import wire
from ._version import __version__
from .access import Access
from .errors import ConfigurationError
from .token import Token
from .wire import ANSWER_BYTES_MAX, Answer, Ask, Broken, Pause, Send

T = TypeVar("T")

_CONNECT_S_MAX = 5.0
# The host closes a kept connection after some seconds: one that was idle for longer isn't used for a call.
_LIMITS = httpx.Limits(keepalive_expiry=2.0)
_HEADERS = {
    "User-Agent": f"keybearer-autogen/{__version__}",
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
}


class Client:
    """Speaks to a host, and blocks while it does.

    Threads may share it. A process that was forked off makes connections of its own.

    Args:
        access: Where the host is, and as whom.
        operator: The kind of token this is for: an operator's, an agent's, or (`None`) either.
        retries: How often a request is sent again where the host says that it's safe.
    """

    def __init__(self, access: Access, *, operator: bool | None = False, retries: int = 2) -> None:
        self._access, self._operator, self._retries = access, operator, retries
        self._http: httpx.Client | None = None
        self._scheme = ""
        self._lock, self._process = Lock(), os.getpid()

    def ask(self, ask: Ask) -> Answer:
        """The answer to a request.

        Raises:
            KeybearerError: It failed; the error says why and whether anything was sent.
        """
        url, auth = self._access.url(), _Bearer(self._access.token(operator=self._operator))
        steps = wire.exchange(ask, _origin(url), retries=self._retries, now=time.monotonic)
        step: Answer | Send | Pause = wire.advance(steps, None)
        while not isinstance(step, Answer):
            got: Answer | Broken | None = None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                got = self._send(step, url, auth)
            step = wire.advance(steps, got)
        return step

    def close(self) -> None:
        """Closes kept connections."""
        self._leave_parent()
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __deepcopy__(self, memo: object) -> Client:
        # Connections can't be copied: a copy makes its own.
        return Client(self._access, operator=self._operator, retries=self._retries)

    def _send(self, step: Send, url: httpx.URL, auth: httpx.Auth) -> Answer | Broken:
        http = self._session(url)
        end = time.monotonic() + step.wait_s
        try:
            with http.stream(
                step.ask.method,
                url.join(step.ask.path),
                content=step.ask.body,
                headers={**_HEADERS, **step.headers},
                auth=auth,
                timeout=_timeout(step.wait_s),
            ) as response:
                gathered = _Gathered(response)
                for chunk in response.iter_raw():
                    gathered.add(chunk)
                    if time.monotonic() > end:
                        return Broken("timeout", "", "unknown")
                return gathered.answer()
        except _Garbled as garbled:
            return Broken("garbled", str(garbled), "unknown")
        except httpx.HTTPError as error:
            return _broken(error)

    def _session(self, url: httpx.URL) -> httpx.Client:
        """The connections of this process."""
        self._leave_parent()
        with self._lock:
            if self._http is None or self._scheme != url.scheme:
                self.close()
                self._http = httpx.Client(trust_env=False, verify=_verify(self._access, url), limits=_LIMITS)
                self._scheme = url.scheme
            return self._http

    def _leave_parent(self) -> None:
        """Lets go of what a fork copied: sockets that the parent uses, and a lock that a thread of its may hold."""
        if self._process != os.getpid():
            self._http, self._lock, self._process = None, Lock(), os.getpid()


class AsyncClient:
    """Speaks to a host. A task that is cancelled closes its connection at once, which stops its call on the host.

    It may be used by several event loops, one after the other.

    Args:
        access: Where the host is, and as whom.
        operator: The kind of token this is for: an operator's, an agent's, or (`None`) either.
        retries: How often a request is sent again where the host says that it's safe.
    """

    def __init__(self, access: Access, *, operator: bool | None = False, retries: int = 2) -> None:
        self._access, self._operator, self._retries = access, operator, retries
        self._http: httpx.AsyncClient | None = None
        self._loop: ref[asyncio.AbstractEventLoop] | None = None
        self._scheme = ""

    async def ask(self, ask: Ask) -> Answer:
        """The answer to a request.

        Raises:
            KeybearerError: It failed; the error says why and whether anything was sent.
        """
        url, auth = self._access.url(), _Bearer(self._access.token(operator=self._operator))
        steps = wire.exchange(ask, _origin(url), retries=self._retries, now=time.monotonic)
        step: Answer | Send | Pause = wire.advance(steps, None)
        while not isinstance(step, Answer):
            got: Answer | Broken | None = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                got = await self._send(step, url, auth)
            step = wire.advance(steps, got)
        return step

    async def close(self) -> None:
        """Closes kept connections."""
        http, self._http = self._http, None
        if http is not None and self._loop is not None and self._loop() is asyncio.get_running_loop():
            await http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __deepcopy__(self, memo: object) -> AsyncClient:
        # Connections can't be copied, nor used by another loop: a copy makes its own.
        return AsyncClient(self._access, operator=self._operator, retries=self._retries)

    async def _send(self, step: Send, url: httpx.URL, auth: httpx.Auth) -> Answer | Broken:
        try:
            return await _within(step.wait_s, self._exchange(step, url, auth))
        except asyncio.TimeoutError:
            return Broken("timeout", "", "unknown")
        except _Garbled as garbled:
            return Broken("garbled", str(garbled), "unknown")
        except httpx.HTTPError as error:
            return _broken(error)

    async def _exchange(self, step: Send, url: httpx.URL, auth: httpx.Auth) -> Answer:
        async with self._session(url).stream(
            step.ask.method,
            url.join(step.ask.path),
            content=step.ask.body,
            headers={**_HEADERS, **step.headers},
            auth=auth,
            timeout=_timeout(step.wait_s),
        ) as response:
            gathered = _Gathered(response)
            async for chunk in response.aiter_raw():
                gathered.add(chunk)
            return gathered.answer()

    def _session(self, url: httpx.URL) -> httpx.AsyncClient:
        """The connections of the running loop. Those of a loop that is gone can't be used, nor closed any more."""
        loop = asyncio.get_running_loop()
        if self._http is None or self._loop is None or self._loop() is not loop or self._scheme != url.scheme:
            self._http = httpx.AsyncClient(trust_env=False, verify=_verify(self._access, url), limits=_LIMITS)
            self._loop, self._scheme = ref(loop), url.scheme
        return self._http


class _Bearer(httpx.Auth):
    """Attaches the token at the last moment, so that nothing but the request on its way holds it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        yield request


class _Garbled(Exception):
    """The answer breaks a rule of form."""


class _Gathered:
    """An answer's body, as far as it has come."""

    def __init__(self, response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Garbled("an encoding that wasn't asked for")
        self._response, self._chunks, self._length = response, list[bytes](), 0

    def add(self, chunk: bytes) -> None:
        self._length += len(chunk)
        if self._length > ANSWER_BYTES_MAX:
            raise _Garbled(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        self._chunks.append(chunk)

    def answer(self) -> Answer:
        headers = self._response.headers
        media_type = headers.get("content-type", "").split(";")[0].strip().lower()
        kept: Mapping[str, str] = {
            name: headers[name] for name in ("retry-after", "keybearer-call-id") if name in headers
        }
        return Answer(self._response.status_code, media_type, b"".join(self._chunks), kept)


def _broken(error: httpx.HTTPError) -> Broken:
    """What a transport's error means. Its own text isn't repeated: it may hold parts of the request."""
    reason = _reason(error)
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return Broken("unreachable", f"the Keybearer host can't be reached ({reason})", "no")
    if isinstance(error, httpx.TimeoutException):
        return Broken("timeout", reason, "unknown")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return Broken("garbled", "an answer that isn't HTTP", "unknown")
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return Broken("unreachable", "the request can't be written as HTTP", "no")
    return Broken("unreachable", "the connection to the Keybearer host broke off", "unknown")


def _reason(error: BaseException) -> str:
    """Why there's no connection, from what lies below httpx's error."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ssl.SSLCertVerificationError):
            return "its certificate isn't one that is trusted here; ca_file names the authority"
        if isinstance(one, ssl.SSLError):
            return "no TLS there"
        if isinstance(one, socket.gaierror):
            return "its name isn't known"
        if isinstance(one, ConnectionRefusedError):
            return "connection refused"
        todo.extend(getattr(one, "exceptions", ()))
        todo.extend(below for below in (one.__cause__, one.__context__) if below is not None)
    return "no answer" if isinstance(error, httpx.TimeoutException) else "no connection"


async def _within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or a timeout.

    `wait_for` of Python 3.11 swallows a cancellation that comes with the result; 3.10 has nothing else.
    """
    if sys.version_info < (3, 11):
        return await asyncio.wait_for(work, seconds)
    async with asyncio.timeout(seconds):
        return await work


def _timeout(wait_s: float) -> httpx.Timeout:
    return httpx.Timeout(wait_s, connect=min(_CONNECT_S_MAX, wait_s))


def _origin(url: httpx.URL) -> str:
    return str(url).rstrip("/")


def _verify(access: Access, url: httpx.URL) -> ssl.SSLContext | bool:
    if url.scheme == "http":
        # Loading the authorities takes tens of milliseconds. This trusts none of them.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if access.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=access.ca_file)
    except (OSError, ssl.SSLError):
        pass
    raise ConfigurationError(f"the file {access.ca_file} can't be read, or isn't a PEM file of certificates")
