"""A model context that keeps a user's secrets out of an agent's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import ConfigurationError
from ..extras import needs
from .filter import SecretFilter

with needs("autogen", "SecretFreeContext"):
    from autogen_core import Component, ComponentModel
    from autogen_core.model_context import ChatCompletionContext, UnboundedChatCompletionContext
    from autogen_core.models import LLMMessage, SystemMessage, UserMessage
    from pydantic import Field
    from typing_extensions import Self

    from ..component import HostConfig


_CLEANED = ("UserMessage", "SystemMessage")


class SecretFreeContextConfig(HostConfig):
    """A context's configuration. The token is named by its environment variable."""

    user: str
    labels: dict[str, str] = Field(default_factory=dict)
    on_failure: Literal["raise", "remove"] = "raise"
    sources: list[str] = Field(default_factory=lambda: ["user"])
    inner: ComponentModel


class SecretFreeContext(ChatCompletionContext, Component[SecretFreeContextConfig]):
    """A context whose messages hold no secret of the kinds that are found::

        secrets = SecretFilter("u-17")
        agent = AssistantAgent("helper", model_client=model, model_context=SecretFreeContext(secrets), …)

    A message is cleaned when it's added, so neither the model nor `save_state` sees the secret. It is a net below
    :meth:`SecretFilter.clean`, and no replacement: what is handed to `agent.run` is also in its result, and a team
    hands it to all its agents.

    Args:
        secrets: What takes secrets out, and has them stored.
        inner: The context that keeps the messages; an unbounded one if left out.
        sources: Whose messages are the user's own words. Secrets in them are stored; in all other messages with the
            role of a user, such as those of other agents, they are cut out. So they are in what is added for the
            system, as AutoGen's memory is, and in a state that is loaded. What the model itself said isn't looked at,
            nor are results of tools: the host has.
    """

    component_config_schema = SecretFreeContextConfig
    component_provider_override = "keybearer_autogen.secrets.SecretFreeContext"

    def __init__(
        self,
        secrets: SecretFilter,
        inner: ChatCompletionContext | None = None,
        sources: Sequence[str] = ("user",),
    ) -> None:
        super().__init__()
        if isinstance(sources, str):
            # A text is a list as well, of letters.
            raise ConfigurationError("sources is a list, also of one: write sources=[…]")
        self._filter, self._inner, self._sources = secrets, inner or UnboundedChatCompletionContext(), list(sources)

    async def add_message(self, message: LLMMessage) -> None:
        """Adds a message, cleaned.

        Raises:
            SecretNotStored: The host didn't keep a secret that is in it. The message isn't added.
        """
        if isinstance(message, (UserMessage, SystemMessage)):
            own_words = isinstance(message, UserMessage) and message.source in self._sources
            message = await self._filter.clean(message, store=own_words)
        await self._inner.add_message(message)

    async def get_messages(self) -> list[LLMMessage]:
        """The messages for the model."""
        return await self._inner.get_messages()

    async def clear(self) -> None:
        """Forgets all messages."""
        await self._inner.clear()

    async def save_state(self) -> Mapping[str, Any]:
        """The state of the context inside."""
        return await self._inner.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores the state of the context inside. Its messages are cleaned; nothing in them is stored."""
        await self._inner.load_state(await self._without_secrets(state))

    async def _without_secrets(self, state: Any) -> Any:
        """A state, or a part of one, in which messages of users and the system are cleaned, wherever they stand."""
        if isinstance(state, Mapping):
            if state.get("type") in _CLEANED:
                return await self._filter.clean(dict(state), store=False)
            return {name: await self._without_secrets(part) for name, part in state.items()}
        if isinstance(state, (list, tuple)):
            return [await self._without_secrets(part) for part in state]
        return state

    def _to_config(self) -> SecretFreeContextConfig:
        return SecretFreeContextConfig(
            **self._filter.for_config(), sources=self._sources, inner=self._inner.dump_component()
        )

    @classmethod
    def _from_config(cls, config: SecretFreeContextConfig) -> Self:
        given = config.model_dump(exclude={"inner", "sources"})
        inner = ChatCompletionContext.load_component(config.inner)
        return cls(SecretFilter(**given), inner, config.sources)
