"""Where many begin: the tool is a Python function, and Stripe's key is in the agent's process.

    STRIPE_API_KEY=sk_test_… OPENAI_API_KEY=… python before.py "What is the state of invoice in_123?"

Needs `pip install autogen-agentchat "autogen-ext[openai]" httpx`.
"""

import asyncio
import json
import os
import sys

import httpx
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient

STRIPE = os.environ.get("STRIPE_API_BASE", "https://api.stripe.com")


async def get_invoice(id: str) -> str:
    """Looks up a Stripe invoice by id and returns its status and the amount due."""
    headers = {"Authorization": f"Bearer {os.environ['STRIPE_API_KEY']}"}
    async with httpx.AsyncClient() as client:
        reply = await client.get(f"{STRIPE}/v1/invoices/{id}", headers=headers)
    invoice = reply.json()
    return json.dumps({name: invoice.get(name) for name in ("id", "amount_due", "status")})


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
