"""What `calling` says, in a team whose runtime is its program's own: messages are handled in that runtime's tasks."""

import asyncio

from autogen_agentchat.agents import AssistantAgent, BaseChatAgent
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import SingleThreadedAgentRuntime
from keybearer_autogen import KeybearerWorkbench, calling

from scripted import TOKEN, Reply, Scripted
from test_package_cancelling import LISTED
from test_package_workbench import model

CALLED = Reply(200, {"ok": True})
SAID = ("Keybearer-Conversation", "Keybearer-Turn", "Keybearer-Intent")


class Counting(BaseChatAgent):
    """An agent that says its turn inside the handler of its message, as the page advises."""

    def __init__(self, inner):
        super().__init__(inner.name, inner.description)
        self.inner, self.turn = inner, 0

    @property
    def produced_message_types(self):
        return (TextMessage,)

    async def on_messages(self, messages, cancellation_token):
        self.turn += 1
        with calling(turn=str(self.turn)):
            return await self.inner.on_messages(messages, cancellation_token)

    async def on_reset(self, cancellation_token):
        await self.inner.on_reset(cancellation_token)


def said(around_start, around_run, wrapped=lambda agent: agent, **given):
    """What two runs of such a team say of their calls: conversation, turn, intent."""

    async def run():
        runtime = SingleThreadedAgentRuntime()
        with calling(**around_start):
            runtime.start()
        bench = KeybearerWorkbench(url=host.url, token=TOKEN, **given)
        agent = wrapped(AssistantAgent("a", model(("t", {}), ("t", {})), workbench=bench))
        team = RoundRobinGroupChat([agent], max_turns=1, runtime=runtime)
        for number in (1, 2):
            with calling(**around_run(number)):
                await team.run(task="Go.")
        await runtime.stop()

    with Scripted(LISTED, LISTED, CALLED, LISTED, LISTED, CALLED) as host:
        asyncio.run(run())
    calls = [headers for command, _, headers, _ in host.asked if command == "POST"]
    return [tuple(headers.get(name) for name in SAID) for headers in calls]


def test_what_is_said_around_a_run_is_not_heard():
    """What the page says of AutoGen. When this fails, the page may say less."""
    assert said({}, lambda number: {"conversation": f"c-{number}", "turn": "9"}) == [(None, None, None)] * 2
    heard = said({"conversation": "first", "intent": "i"}, lambda number: {"conversation": f"c-{number}"})
    assert heard == [("first", None, "i")] * 2


def test_what_a_component_is_given_and_a_handler_says_is_heard():
    heard = said({}, lambda number: {}, wrapped=Counting, conversation="c-17")
    assert heard == [("c-17", "1", None), ("c-17", "2", None)]
