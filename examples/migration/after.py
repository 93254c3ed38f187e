"""The same agent, whose tool runs in Keybearer. There's no key in this process.

    KEYBEARER_URL=http://127.0.0.1:7411 KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… \\
        python after.py "What is the state of invoice in_123?"

Needs `pip install autogen-agentchat "autogen-ext[http-tool,openai]"`.
"""

import asyncio
import os
import sys

import httpx
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.http import HttpTool

HOST = httpx.URL(os.environ["KEYBEARER_URL"])

get_invoice = HttpTool(
    name="get_invoice",
    description="Looks up a Stripe invoice by id and returns its status and the amount due.",
    json_schema={
        "type": "object",
        "properties": {"id": {"type": "string", "description": "The invoice's id, for example `in_1Abc`."}},
        "required": ["id"],
    },
    scheme=HOST.scheme,
    host=HOST.host,
    port=HOST.port or (443 if HOST.scheme == "https" else 80),
    path="/v1/tools/get_invoice",
    headers={"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}"},
    return_type="text",
)


async def main(task: str) -> None:
    model = OpenAIChatCompletionClient(model="gpt-4o")
    agent = AssistantAgent("billing", model_client=model, tools=[get_invoice], reflect_on_tool_use=True)
    result = await agent.run(task=task)
    for message in result.messages:
        if isinstance(message, ToolCallExecutionEvent):
            print("[sees]", *(result.content for result in message.content))
    print(result.messages[-1].content)
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
