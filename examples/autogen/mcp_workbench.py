"""The same agent over MCP: AutoGen's `McpWorkbench`, which lists the host's tools and calls them by itself.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python mcp_workbench.py "What is the state of invoice in_123?"

Needs `pip install autogen-agentchat "autogen-ext[mcp,openai]" "mcp<2"`: with mcp 2.x autogen-ext 0.7.5 can't be imported.
"""

import asyncio
import os
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams


async def main(task: str) -> None:
    keybearer = StreamableHttpServerParams(
        url=f"{os.environ['KEYBEARER_URL']}/mcp",
        headers={"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}"},
    )
    model = OpenAIChatCompletionClient(model="gpt-4o")
    async with McpWorkbench(keybearer) as workbench:
        agent = AssistantAgent(
            "billing",
            model_client=model,
            workbench=workbench,
            system_message="You answer questions about invoices.",
            reflect_on_tool_use=True,
        )
        result = await agent.run(task=task)
    for message in result.messages:
        if isinstance(message, ToolCallExecutionEvent):
            print("[sees]", *(result.content for result in message.content))
    print(result.messages[-1].content)
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
