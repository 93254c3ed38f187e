"""AG2 1.x: agent-written code through `SandboxCodeTool`, in the host's sandbox.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python ag2_code.py "How much is due on invoice in_123?"

Needs `pip install ./python "ag2[openai]>=1.0"`, and a host with a sandbox: docs/OPERATORS.md, "Let agents run code".
"""

import asyncio
import sys

from ag2 import Agent
from ag2.config import OpenAIConfig
from ag2.tools import SandboxCodeTool
from keybearer_autogen import KeybearerCodeEnvironment

HOW = """You answer questions about invoices by writing Python.
To read one: `import keybearer; keybearer.http("stripe").get("/v1/invoices/in_1Abc").json()`.
Print what you want to see."""


async def main(task: str) -> None:
    agent = Agent(
        "analyst",
        HOW,
        config=OpenAIConfig(model="gpt-4o"),
        tools=[SandboxCodeTool(KeybearerCodeEnvironment())],
    )
    reply = await agent.ask(task)
    print(reply.body)


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
