"""Requests to upstreams, with credentials that this program never sees.

    import keybearer

    stripe = keybearer.http("stripe")
    invoice = stripe.get("/v1/invoices/in_1Abc").json()

A connection is named, never a URL: the host knows its address, checks the request against the policy, attaches the
credential and sends it. What the host refuses raises `Denied`; what brought no reply for another reason raises
`RequestFailed`. Both say in a sentence what was wrong.
"""

import json as _json

from componentize_py_types import Err as _Err
from wit_world.imports import credentialed_http as _http
from wit_world.imports import log as _log

__all__ = ["Connection", "Denied", "Error", "RequestFailed", "Response", "StatusError", "http", "log"]

_DENIALS = frozenset(
    (
        "denied",
        "approval-required",
        "over-budget",
        "rate-limited",
        "revoked",
        "unknown-operation",
        "send-limit",
    )
)
# What can be handed to the host at once, in bytes: it ends a run that hands it more.
_BYTES_MAX = 2 << 20
# What the host counts for a field besides its name and its value, at most.
_FIELD_BYTES_MAX = 64
_SENT = {
    "no": "the request was not sent",
    "yes": "the request was sent",
    "unknown": "the request may have been sent: look before you try again",
}


class Error(Exception):
    """What every error of this module is."""


class RequestFailed(Error):
    """A request that brought no reply.

    `reason` is a word, such as "timeout", "unreachable" or "invalid-request"; `message` a sentence; `request_sent`
    says whether the upstream may have seen the request: "no", "yes" or "unknown".
    """

    def __init__(self, reason, message, request_sent):
        super().__init__(f"{message} ({reason}; {_SENT.get(request_sent, request_sent)})")
        self.reason = reason
        self.message = message
        self.request_sent = request_sent


class Denied(RequestFailed):
    """A request that the host doesn't allow: the policy, the token, a budget or the connection's operations."""


class StatusError(Error):
    """A reply whose status says that the request failed. `response` is the reply."""

    def __init__(self, response):
        super().__init__(f"the upstream answered with status {response.status}: {response.text[:500]}")
        self.response = response


class Response:
    """An upstream's reply."""

    def __init__(self, status, headers, content):
        #: The status code.
        self.status = self.status_code = status
        #: The headers that the connection lets through; names are in lower case.
        self.headers = headers
        #: The body, as bytes.
        self.content = content

    @property
    def ok(self):
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self):
        """The body, as text."""
        return self.content.decode("utf-8", "replace")

    def json(self):
        """The body, read as JSON."""
        return _json.loads(self.content)

    def raise_for_status(self):
        """Raises `StatusError` if the status is 400 or above; else returns the response itself."""
        if not self.ok:
            raise StatusError(self)
        return self

    def __repr__(self):
        return f"<Response {self.status}>"


class Connection:
    """One upstream that the operator set up."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"keybearer.http({self.name!r})"

    def get(self, path, *, params=None, headers=None):
        """Sends GET."""
        return self.request("GET", path, params=params, headers=headers)

    def head(self, path, *, params=None, headers=None):
        """Sends HEAD."""
        return self.request("HEAD", path, params=params, headers=headers)

    def delete(self, path, *, params=None, headers=None):
        """Sends DELETE."""
        return self.request("DELETE", path, params=params, headers=headers)

    def post(self, path, *, json=None, form=None, data=None, params=None, headers=None):
        """Sends POST. See `request` for the body."""
        return self.request("POST", path, json=json, form=form, data=data, params=params, headers=headers)

    def put(self, path, *, json=None, form=None, data=None, params=None, headers=None):
        """Sends PUT. See `request` for the body."""
        return self.request("PUT", path, json=json, form=form, data=data, params=params, headers=headers)

    def patch(self, path, *, json=None, form=None, data=None, params=None, headers=None):
        """Sends PATCH. See `request` for the body."""
        return self.request("PATCH", path, json=json, form=form, data=data, params=params, headers=headers)

    def request(self, method, path, *, json=None, form=None, data=None, params=None, headers=None):
        """Sends one request and returns the `Response`.

        `path` starts with `/` and is percent-encoded. `params` and `headers` are dictionaries. The body is one of:
        `json`, any value that JSON can hold; `form`, a dictionary, in which a nested one becomes `outer[inner]`; or
        `data`, bytes or text with the content type among the headers (`application/octet-stream` or `text/plain` if
        there's none).

        Raises `Denied` if the host doesn't allow the request, and `RequestFailed` if it brought no reply.
        """
        headers = _pairs(headers)
        body = _body(json, form, data, headers)
        request = _http.Request(
            connection=_text(self.name),
            method=_text(method).upper(),
            path=_text(path),
            query=_pairs(params),
            headers=headers,
            body=body,
        )
        if _size(request) > _BYTES_MAX:
            raise RequestFailed("invalid-request", "the request is larger than 2 MiB, with its headers and its body", "no")
        try:
            reply = _http.send(request)
        except _Err as error:
            failure = _failed(error.value)
        else:
            return Response(reply.status, dict(reply.headers), bytes(reply.body))
        raise failure


def http(connection):
    """The connection of this name. Which ones there are, and what they can do, the operator decides."""
    return Connection(connection)


def log(message, level="info"):
    """Writes one line for the operator. `level`: "debug", "info", "warn" or "error"."""
    try:
        level = _log.Level[str(level).upper()]
    except KeyError:
        raise ValueError(f'there is no level {level!r}: it is "debug", "info", "warn" or "error"') from None
    # The host cuts a line to less.
    _log.write(level, _text(message).encode()[:_BYTES_MAX].decode("utf-8", "ignore"))


def _failed(failure):
    reason = failure.reason.name.lower().replace("_", "-")
    kind = Denied if reason in _DENIALS else RequestFailed
    return kind(reason, failure.message, failure.request_sent.name.lower())


def _size(part):
    """What the host counts for a part of a request, in bytes, or a little more."""
    if part is None:
        return 0
    if isinstance(part, str):
        return len(part if part.isascii() else part.encode())
    if isinstance(part, bytes):
        return len(part)
    return _FIELD_BYTES_MAX + sum(map(_size, part if isinstance(part, (list, tuple)) else vars(part).values()))


def _body(json, form, data, headers):
    given = [name for name, value in (("json", json), ("form", form), ("data", data)) if value is not None]
    if len(given) > 1:
        raise TypeError(f"a request has one body: give one of {', '.join(given)}")
    if json is not None:
        return _http.Body_Json(_text(_json.dumps(json, ensure_ascii=False, allow_nan=False)))
    if form is not None:
        return _http.Body_Form(_pairs(form))
    if data is not None:
        kind = "text/plain" if isinstance(data, str) else "application/octet-stream"
        for at, (name, value) in enumerate(headers):
            if name.lower() == "content-type":
                kind = value
                del headers[at]
                break
        if isinstance(data, str):
            data = _text(data).encode()
        elif isinstance(data, (bytes, bytearray, memoryview)):
            data = bytes(data)
        else:
            raise TypeError(f"data is bytes or text, and not of class {type(data).__name__}: give it as json= or form=")
        return _http.Body_Bytes(_http.RawBody(content_type=kind, data=data))
    return None


def _pairs(fields):
    """Names and values as text. What is None is left out; a nested dictionary or list becomes `outer[inner]`."""
    pairs = []
    if fields is None:
        return pairs
    for name, value in fields.items() if hasattr(fields, "items") else fields:
        _flatten(_text(name), value, pairs)
    return pairs


def _flatten(name, value, pairs):
    if value is None:
        return
    if isinstance(value, dict):
        for inner, item in value.items():
            _flatten(f"{name}[{_text(inner)}]", item, pairs)
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            _flatten(f"{name}[{at}]", item, pairs)
    else:
        pairs.append((name, _text(value)))


def _text(value):
    """A value as the text that goes over the wire."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{type(value).__name__} isn't text: decode it first")
    if isinstance(value, (set, frozenset)):
        raise TypeError(f"a {type(value).__name__} has no order that could be sent: give a list")
    value = str.__str__(value) if isinstance(value, str) else str(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate can't be sent: this text is no valid Unicode") from None
    return value
