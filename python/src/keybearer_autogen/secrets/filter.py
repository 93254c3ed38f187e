"""Takes a user's own secrets out of what the user wrote, before any model sees it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Mapping
from secrets import token_bytes, token_hex
from typing import Any, Literal, TypeVar, cast

from .. import wire
from ..access import Access, AccessConfig
from ..client import AsyncClient, Client
from ..errors import ConfigurationError, KeybearerError
from ..token import Token
from ..wire import Answer, Ask
from .detect import Found, find

Message = TypeVar("Message")

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", re.ASCII)
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


class SecretFilter:
    """Takes secrets out of a person's messages, has the host keep them for that person, and leaves references.

    `My token is ghp_…` becomes `My token is [secret:github-token-5f3a91c2]`. The host keeps the secret under that
    label; nothing reads it but connections with `secret_of = "user"`, for that person's calls. The reference is of no
    use to anyone else, and to the model it is only a word.

    A message is handed on when every secret in it is stored, and not before::

        secrets = SecretFilter("u-17")
        await agent.run(task=await secrets.clean(text))

    Args:
        user: The person's id. Take it from your own sign-in, never from a message.
        labels: The labels for kinds of secrets (`github-token`, `stripe-key`, `password`, …), where a connection
            expects one. A new secret of that kind then takes the place of the one before, so whoever can get a text
            into this person's messages could replace it: name only kinds for which that's meant. Other secrets get a
            fresh label each.
        on_failure: What happens when the host doesn't store a secret: `raise` hands nothing on, `remove` hands the
            message on with the secret cut out. It's never handed on with the secret in it.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token: an agent's that is bound to this user
            and may store secrets, or an operator's of the tenant.
        token: The token itself, for factories.
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
        self._async, self._sync = AsyncClient(self._access, operator=None), Client(self._access, operator=None)
        # Which secret has which label, by a digest that means nothing outside this object.
        self._digest_key, self._known = token_bytes(32), dict[bytes, str]()

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
        """:meth:`clean`, for programs that block: `agent.register_hook("process_last_received_message", f.clean_now)`."""
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

    def for_config(self) -> tuple[AccessConfig, str, dict[str, str], Literal["raise", "remove"]]:
        """What a component that holds this one may store: where the host is, the user, labels, what failures do."""
        return self._access.for_config(), self._user, dict(self._labels), self._on_failure

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
            changed = {}
            for name in type(value).model_fields:
                before = getattr(value, name)
                after = before if name in _NOT_TEXT else (yield from self._cleaned(before, store))
                if after is not before:
                    changed[name] = after
            return value.model_copy(update=changed) if changed else value
        return value

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
            label = self._known.get(self._digest(secret))
            if label is None and store and _can_be_kept(secret):
                label = yield from self._stored(kind, secret)
            references.append(f"[secret:{label}]" if label else f"[secret removed: {kind}]")
        return " ".join(references)

    def _stored(self, kind: str, secret: str) -> Generator[Ask, Answer | KeybearerError | None, str | None]:
        label = self._labels.get(kind) or f"{kind}-{token_hex(4)}"
        got = yield wire.store_secret(self._user, label, secret)
        if isinstance(got, Answer):
            try:
                wire.read_json(got)
            except KeybearerError as error:
                got = error
        if isinstance(got, KeybearerError):
            if self._on_failure == "remove":
                return None
            raise SecretNotStored(kind, got)
        # Under a label that is used again, the one before isn't kept any more: typed once more, it's stored once more.
        self._known = {digest: other for digest, other in self._known.items() if other != label}
        self._known[self._digest(secret)] = label
        return label

    def _digest(self, secret: str) -> bytes:
        return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=self._digest_key, digest_size=16).digest()


def _can_be_kept(secret: str) -> bool:
    """Whether the host keeps such a text: one line of 8 to 8192 bytes. A key in PEM, say, isn't one."""
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        return False
    return 8 <= size <= 8192 and secret == secret.strip() and secret.isprintable()
