"""An AutoGen agent whose tool runs in Keybearer: the agent reads an invoice and never holds Stripe's key.

    KEYBEARER_URL=http://127.0.0.1:8700 KEYBEARER_TOKEN=kbt_... python single_agent.py --invoice in_123

All that this process has is the host's address and a token for one agent. The tools, with their descriptions and
schemas, come from the host; AutoGen's own HttpTool calls them. The host looks the key up, attaches it to the one
request it belongs to, and hands back a small object.

The model here is a replay, so that this runs without an account anywhere. For a real one put, for example,
`OpenAIChatCompletionClient(model="gpt-4o")` in its place; nothing else changes.

Needs `pip install autogen-agentchat "autogen-ext[http-tool]"`.
"""

import argparse
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


def keybearer_tools(token: str | None = None) -> list[HttpTool]:
    """One HttpTool for each tool that the token may call."""
    try:
        url = httpx.URL(os.environ["KEYBEARER_URL"])
        headers = {"Authorization": f"Bearer {token or os.environ['KEYBEARER_TOKEN']}"}
    except KeyError as missing:
        sys.exit(f"the variable {missing} isn't set: `keybearer dev … -- python single_agent.py` sets both")
    try:
        # A proxy of the environment would get to see the token.
        reply = httpx.get(url.join("/v1/tools"), headers=headers, trust_env=False)
    except httpx.TransportError as error:
        sys.exit(f"no Keybearer host answers at {url}: {error}")
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
            # The text is JSON already; "json" would show the model Python's way of writing it.
            return_type="text",
        )
        for tool in reply.json()["tools"]
    ]


def replayed_model(invoice: str) -> ReplayChatCompletionClient:
    """A model that calls `get_invoice` and then says that it has."""
    call = FunctionCall(id="call_1", name="get_invoice", arguments=json.dumps({"id": invoice}))
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    wants_a_tool = CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False)
    abilities = ModelInfo(
        vision=False,
        function_calling=True,
        json_output=False,
        structured_output=False,
        family=ModelFamily.UNKNOWN,
    )
    return ReplayChatCompletionClient([wants_a_tool, "I have looked the invoice up."], model_info=abilities)


def new_agent(tools: list[HttpTool], invoice: str) -> AssistantAgent:
    return AssistantAgent(
        "billing",
        model_client=replayed_model(invoice),
        tools=tools,
        system_message="You answer questions about invoices.",
        reflect_on_tool_use=True,
    )


def show(message) -> None:
    """Prints what went between the model and its tools."""
    if isinstance(message, ToolCallRequestEvent):
        for call in message.content:
            print(f"  model calls  {call.name} {call.arguments}")
    elif isinstance(message, ToolCallExecutionEvent):
        for result in message.content:
            print(f"  model sees   {result.content}")
    elif hasattr(message, "content"):
        print(f"  {message.source + ' says':<12} {message.content}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invoice", required=True, help="the invoice to ask for")
    parser.add_argument("--dump", help="a file to write every message to, as JSON")
    options = parser.parse_args()

    tools = keybearer_tools()
    print("tools:", ", ".join(tool.name for tool in tools))
    task = f"What is the state of invoice {options.invoice}?"
    history = []

    # The replay warns of all that a real model would do besides.
    logging.basicConfig(level=logging.ERROR)

    print("run")
    agent = new_agent(tools, options.invoice)
    for message in (await agent.run(task=task)).messages:
        show(message)
        history.append(message.dump())
    history.append(await agent.save_state())

    print("run_stream")
    agent = new_agent(tools, options.invoice)
    async for message in agent.run_stream(task=task):
        if hasattr(message, "dump"):  # The last one is the TaskResult, which holds them all again.
            show(message)
            history.append(message.dump())
    history.append(await agent.save_state())

    if options.dump:
        with open(options.dump, "w", encoding="utf-8") as file:
            json.dump(history, file, indent=1, default=str)


if __name__ == "__main__":
    asyncio.run(main())
