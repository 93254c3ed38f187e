"""Microsoft Agent Framework, AutoGen's successor, over MCP.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… \\
        python agent_framework_mcp.py "What is the state of invoice in_123?"

Needs `pip install agent-framework-core agent-framework-openai mcp tenacity`.
"""

import asyncio
import os
import sys

from agent_framework import Agent, MCPStreamableHTTPTool
from agent_framework.openai import OpenAIChatCompletionClient


async def main(task: str) -> None:
    keybearer = MCPStreamableHTTPTool(
        name="keybearer",
        url=f"{os.environ['KEYBEARER_URL']}/mcp",
        static_headers={"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}"},
        load_prompts=False,
    )
    # What the host says of a refusal is meant for the model, and holds no secrets. Without this the model isn't told.
    readable = {"include_detailed_errors": True}
    async with keybearer:
        agent = Agent(
            client=OpenAIChatCompletionClient(model="gpt-4o", function_invocation_configuration=readable),
            name="billing",
            instructions="You answer questions about invoices.",
            tools=keybearer,
        )
        print(await agent.run(task))


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
