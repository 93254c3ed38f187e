"""An AutoGen agent that makes the calls you write down, one after the other, and shows what its model sees.

    python agent.py 'get_invoice id=in_123' pause 'create_charge amount=4200 currency=usd customer=cus_Acme'

KEYBEARER_URL and KEYBEARER_TOKEN say where the host is and who the agent is. `pause` waits for Enter, so that you can
approve, revoke or stop something in between.

The model is a replay: it wants these calls whatever it's told, as a model does that was talked into something. The agent,
its tools and the way of its calls are the real ones.

Needs `pip install autogen-agentchat "autogen-ext[http-tool]"`.
"""

import asyncio
import json
import logging
import os
import sys

import httpx
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent, ToolCallRequestEvent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.http import HttpTool


def keybearer_tools(token: str) -> list[HttpTool]:
    """One HttpTool for each tool that this token may call."""
    url = httpx.URL(os.environ.get("KEYBEARER_URL", "http://127.0.0.1:7411"))
    headers = {"Authorization": f"Bearer {token}"}
    # A proxy of the environment would get to see the token.
    reply = httpx.get(url.join("/v1/tools"), headers=headers, trust_env=False)
    if reply.is_error:
        sys.exit(f"the host refused: {reply.json()['detail']}")
    return [
        HttpTool(
            name=tool["name"],
            description=tool["description"],
            json_schema=tool["input_schema"],
            scheme=url.scheme,
            host=url.host,
            port=url.port or (443 if url.scheme == "https" else 80),
            path=f"/v1/tools/{tool['name']}",
            headers=headers,
            return_type="text",
        )
        for tool in reply.json()["tools"]
    ]


def call(text: str) -> FunctionCall:
    """`create_charge amount=500 currency=usd` as a model asks for it. Whole numbers are numbers, the rest is text."""
    name, *pairs = text.split()
    arguments = {key: int(value) if value.isdigit() else value for key, value in (pair.split("=", 1) for pair in pairs)}
    return FunctionCall(id=f"call_{name}", name=name, arguments=json.dumps(arguments))


def replayed(turns: list[list[FunctionCall]]) -> ReplayChatCompletionClient:
    """A model that asks for these calls, turn by turn. In place of it: `OpenAIChatCompletionClient(model="gpt-4o")`."""
    abilities = ModelInfo(
        vision=False,
        function_calling=True,
        json_output=False,
        structured_output=False,
        family=ModelFamily.UNKNOWN,
    )
    results = [
        CreateResult(
            finish_reason="function_calls",
            content=calls,
            usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
            cached=False,
        )
        for calls in turns
    ]
    # The replay warns of all that a real model would do besides.
    logging.basicConfig(level=logging.ERROR)
    return ReplayChatCompletionClient(results, model_info=abilities)


def show(message) -> None:
    """Prints what went between a model and its tools."""
    if isinstance(message, ToolCallRequestEvent):
        for wanted in message.content:
            print(f"{message.source} calls  {wanted.name} {wanted.arguments}", flush=True)
    elif isinstance(message, ToolCallExecutionEvent):
        for result in message.content:
            print(f"{message.source} sees   {result.content}", flush=True)


async def main(steps: list[str]) -> None:
    if not steps:
        sys.exit(__doc__)
    if "KEYBEARER_TOKEN" not in os.environ:
        sys.exit("KEYBEARER_TOKEN isn't set: `keybearer token mint` prints one")
    agent = AssistantAgent(
        "agent",
        model_client=replayed([[call(step)] for step in steps if step != "pause"]),
        tools=keybearer_tools(os.environ["KEYBEARER_TOKEN"]),
    )
    for step in steps:
        if step == "pause":
            print("waiting for Enter", flush=True)
            sys.stdin.readline()
            continue
        async for message in agent.run_stream(task=step):
            show(message)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
