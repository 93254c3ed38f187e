"""Takes a user's own secrets out of what the user wrote, before any model sees it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from secrets import token_bytes
from typing import Any, Literal, TypeVar, cast

from .. import wire
from ..access import Access, AccessConfig
from ..client import AsyncClient, Client
from ..context import Context
from ..errors import ConfigurationError, KeybearerError, Refused
from ..token import Token
from ..wire import Answer, Ask
from .detect import KINDS_BY_SHAPE, Found, find

log = logging.getLogger("keybearer_autogen")

Message = TypeVar("Message")

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", re.ASCII)
# A vendor's key that is at least so long holds more chance than anyone could try.
_UNGUESSABLE_CHARACTERS = 24
# Known to this process alone: without it, a label says nothing of a secret that could be guessed.
_LABEL_KEY = token_bytes(32)
# Who and what a message is, rather than what it says.
_NOT_TEXT = frozenset({"type", "id", "source", "role", "name", "call_id", "created_at", "models_usage"})

Steps = Generator[Ask, "Answer | KeybearerError | None", Any]


class SecretNotStored(KeybearerError):
    """A secret was found and couldn't be stored, so the message it was in isn't handed on. It holds neither."""

    def __init__(self, kind: str, cause: KeybearerError) -> None:
        super().__init__(
            "secret_not_stored",
            f"The message was not handed on: it holds a secret ({kind}) that could not be stored. {cause.detail}",
            request_sent=cause.request_sent,
            retry=cause.retry,
            note=str(cause),
        )


class FilterConfig(AccessConfig):
    """What of a :class:`SecretFilter` may be stored."""

    conversation: str | None
    user: str
    labels: dict[str, str]
    on_failure: Literal["raise", "remove"]


class SecretFilter:
    """Takes secrets out of a person's messages, has the host keep them for that person, and leaves references.

    `My token is ghp_…` becomes `My token is [secret:github-token-5f3a…]`. The host keeps the secret under that label;
    nothing reads it but connections with `secret_of = "user"`, for that person's calls. The reference is of no use to
    anyone else, and to the model it is only a word.

    A message is handed on when every secret in it is stored, and not before::

        secrets = SecretFilter("u-17")
        await agent.run(task=await secrets.clean(text))

    A vendor's key that is typed again gets the label it had; so does a password, as long as this process lives. The
    host keeps 100 labels of one person. A secret that is one too many, or that it can't keep, is cut out of a message
    that is handed on: `[secret removed, not stored: github-token]`. The log says why. Remove what isn't needed any more
    with `DELETE /v1/users/u-17/secrets/LABEL`, or `keybearer vault remove LABEL --user u-17`, and make the filter anew:
    it remembers what it stored.

    Args:
        user: The person's id. Take it from your own sign-in, never from a message.
        labels: The labels for kinds of secrets (`github-token`, `stripe-key`, `password`, …), where a connection
            expects one. A new secret of that kind then takes the place of the one before, so whoever can get a text
            into this person's messages could replace it: name only kinds for which that's meant. Other secrets get a
            label of their own each.
        on_failure: What happens when the host can't store a secret now, or not with this token: `raise` hands nothing
            on, `remove` hands the message on with the secret cut out. It's never handed on with the secret in it.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token: an agent's that is bound to this user
            and may store secrets, or an operator's of the tenant.
        token: The token itself, for factories.
        conversation: The conversation that a token is bound to, as a lease gives it
            (`SecretFilter("u-17", **minted.connection)`). What is stored belongs to the person and to no conversation.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    def __init__(
        self,
        user: str,
        *,
        labels: Mapping[str, str] | None = None,
        on_failure: Literal["raise", "remove"] = "raise",
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        conversation: str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        for what, name in [("user", user), *(("label", label) for label in (labels or {}).values())]:
            if not _LABEL.fullmatch(name):
                raise ConfigurationError(f"the {what} isn't valid: use letters, digits and any of '-_.:@'")
        if on_failure not in ("raise", "remove"):
            raise ConfigurationError("on_failure is 'raise' or 'remove'")
        self._user, self._labels, self._on_failure = user, dict(labels or {}), on_failure
        self._context = Context(conversation=conversation)
        self._async, self._sync = AsyncClient(self._access, operator=None), Client(self._access, operator=None)
        # Which secret is under which label, by a digest that means nothing outside this object. Threads share it: each
        # of them reads a copy of its items, and writes one of them.
        self._digest_key, self._known = token_bytes(32), dict[str, bytes]()

    async def clean(self, message: Message, *, store: bool = True) -> Message:
        """The message without secrets.

        Args:
            message: A text, a message of AutoGen, a dictionary as v0.2 has them, or a list of those. It isn't changed.
            store: Whether to have the host keep what is found. What isn't the person's own words is better not kept:
                secrets are cut out of it.

        Raises:
            SecretNotStored: The host didn't keep one, and `on_failure` is `raise`.
        """
        steps = self._cleaned(message, store)
        step = wire.advance(steps, None)
        while isinstance(step, Ask):
            got: Answer | KeybearerError
            try:
                got = await self._async.ask(step)
            except KeybearerError as error:
                got = error
            step = wire.advance(steps, got)
        return cast(Message, step)

    def clean_now(self, message: Message, *, store: bool = True) -> Message:
        """:meth:`clean`, for programs that block, as those with a `ConversableAgent` do. Threads may share a filter.

        What the agent that speaks for the person sends is cleaned before anyone has it, and what any other agent is about
        to read once more::

            user.register_hook("process_message_before_send", lambda message, **_: secrets.clean_now(message))
            agent.register_hook(
                "process_all_messages_before_reply", lambda messages: secrets.clean_now(messages, store=False)
            )

        The hook `process_last_received_message` isn't enough: it's handed the last message alone, and not if that has a
        `context`.

        Raises:
            SecretNotStored: The host didn't keep one, and `on_failure` is `raise`.
        """
        steps = self._cleaned(message, store)
        step = wire.advance(steps, None)
        while isinstance(step, Ask):
            got: Answer | KeybearerError
            try:
                got = self._sync.ask(step)
            except KeybearerError as error:
                got = error
            step = wire.advance(steps, got)
        return cast(Message, step)

    def for_config(self) -> FilterConfig:
        """What a component that holds this one may store.

        Raises:
            ConfigurationError: The token was given directly: there's no name to store for it.
        """
        return {
            **self._access.for_config(),
            "conversation": self._context.conversation,
            "user": self._user,
            "labels": dict(self._labels),
            "on_failure": self._on_failure,
        }

    async def close(self) -> None:
        """Closes kept connections."""
        self._sync.close()
        await self._async.close()

    def __repr__(self) -> str:
        return f"SecretFilter({self._user!r}, {self._access!r})"

    def _cleaned(self, value: Any, store: bool) -> Steps:
        """Any value, with its texts cleaned. Steps are requests to store one secret."""
        if isinstance(value, str):
            return (yield from self._cleaned_text(value, store))
        if isinstance(value, (list, tuple)):
            cleaned = []
            for one in value:
                cleaned.append((yield from self._cleaned(one, store)))
            return type(value)(cleaned) if type(value) in (list, tuple) else cleaned
        if isinstance(value, dict):
            mapping = {}
            for name, one in value.items():
                mapping[name] = one if name in _NOT_TEXT else (yield from self._cleaned(one, store))
            return mapping
        if hasattr(value, "model_copy"):
            changed = yield from self._changed(value, type(value).model_fields, store)
            return value.model_copy(update=changed) if changed else value
        if is_dataclass(value) and not isinstance(value, type):
            # A call of a tool is one, inside messages.
            changed = yield from self._changed(value, [field.name for field in fields(value) if field.init], store)
            return replace(value, **changed) if changed else value
        return value

    def _changed(self, value: Any, names: Iterable[str], store: bool) -> Steps:
        """The attributes of these names that hold something to clean, cleaned."""
        changed = {}
        for name in names:
            before = getattr(value, name)
            after = before if name in _NOT_TEXT else (yield from self._cleaned(before, store))
            if after is not before:
                changed[name] = after
        return changed

    def _cleaned_text(self, text: str, store: bool) -> Steps:
        pieces, at = [], 0
        for found in find(text):
            pieces.append(text[at : found.start])
            pieces.append((yield from self._instead(text, found, store)))
            at = found.end
        return "".join([*pieces, text[at:]]) if pieces else text

    def _instead(self, text: str, found: Found, store: bool) -> Steps:
        """What stands in the place of what was found."""
        references = []
        for kind, start, end in found.values:
            secret = text[start:end]
            label = self._label_of(secret)
            if label is None and store and _can_be_kept(secret):
                references.append((yield from self._stored(kind, secret)))
            else:
                references.append(f"[secret:{label}]" if label else f"[secret removed: {kind}]")
        return " ".join(references)

    def _stored(self, kind: str, secret: str) -> Generator[Ask, Answer | KeybearerError | None, str]:
        """The reference to a secret that the host has just stored, or what says that it hasn't."""
        label = self._labels.get(kind) or f"{kind}-{_digest_for_label(self._user, kind, secret)}"
        got = yield wire.store_secret(self._user, label, secret)
        if isinstance(got, Answer):
            try:
                wire.read_json(got)
            except KeybearerError as error:
                got = error
        if isinstance(got, KeybearerError):
            if _is_final(got):
                log.warning("a secret (%s) of the user %s was cut out, and isn't stored: %s", kind, self._user, got)
                return f"[secret removed, not stored: {kind}]"
            if self._on_failure == "remove":
                return f"[secret removed: {kind}]"
            raise SecretNotStored(kind, got)
        # Under a label that is used again, the one before isn't kept any more: typed once more, it's stored once more.
        self._known[label] = self._digest(secret)
        return f"[secret:{label}]"

    def _label_of(self, secret: str) -> str | None:
        """The label that it's kept under. One person has a hundred at most."""
        digest = self._digest(secret)
        return next((label for label, known in list(self._known.items()) if known == digest), None)

    def _digest(self, secret: str) -> bytes:
        return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=self._digest_key, digest_size=16).digest()


def _digest_for_label(user: str, kind: str, secret: str) -> str:
    """What tells this person's secrets apart, the same for the same one. The model sees it, and logs may.

    Nothing that an application holds is both secret and here to stay: its token is renewed. So a vendor's key, which
    holds too much chance to be guessed, is digested as it is, and has its label in each process and for ever. A password
    could be found by trying, however slow the digest; its label goes by a key of this process.

    The digest is long enough that nobody can make up a key with the label of another.
    """
    guessable = kind not in KINDS_BY_SHAPE or len(secret) < _UNGUESSABLE_CHARACTERS
    key = _LABEL_KEY if guessable else b"keybearer-autogen label"
    return hashlib.blake2b(f"{user}\0{secret}".encode(), key=key, digest_size=12).hexdigest()


def _is_final(error: KeybearerError) -> bool:
    """Whether the host refuses this very secret, as when there are too many: the same again is refused again."""
    return isinstance(error, Refused) and error.code == "bad_request"


def _can_be_kept(secret: str) -> bool:
    """Whether the host keeps such a text: one line of 8 to 8192 bytes. A key in PEM, say, isn't one."""
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        return False
    return 8 <= size <= 8192 and secret == secret.strip() and secret.isprintable()
