"""AG2 1.x: an `Agent` whose tool asks the host.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python ag2_agent.py "What is the state of invoice in_123?"

An exception in a tool reaches the model with its whole traceback here. So this tool raises none: what the host answers, and
that there's no host, is text.

Needs `pip install "ag2[openai]>=1.0"`.
"""

import asyncio
import os
import sys

import httpx2
from ag2 import Agent, tool
from ag2.config import OpenAIConfig

HOST = os.environ.get("KEYBEARER_URL", "http://127.0.0.1:7411")


@tool
async def get_invoice(id: str) -> str:
    """Looks up a Stripe invoice by id and returns its status and the amount due."""
    headers = {"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}"}
    # A proxy of the environment would get to see the token.
    async with httpx2.AsyncClient(headers=headers, timeout=10, trust_env=False) as client:
        try:
            return (await client.post(f"{HOST}/v1/tools/get_invoice", json={"id": id})).text
        except httpx2.TransportError:
            return f"The call failed: no Keybearer host answers at {HOST}."


async def main(task: str) -> None:
    agent = Agent(
        "billing",
        "You answer questions about invoices.",
        config=OpenAIConfig(model="gpt-4o"),
        tools=[get_invoice],
    )
    reply = await agent.ask(task)
    print(reply.body)


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
