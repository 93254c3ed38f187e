"""An agent that writes Python and has it run: in the host's sandbox, and never on this machine.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python code_execution.py "How much is due on invoice in_123?"

The code sees no file, no environment variable and no network. It reaches what the host lets it reach, by name: the host
attaches the key to this one request, under the token's rights.

Needs `pip install "./python[autogen]" "autogen-ext[openai]"` at the top of this repository, and a host with a sandbox:
docs/OPERATORS.md, "Let agents run code".
"""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from keybearer_autogen import KeybearerCodeExecutor, cancellation

HOW = """You answer questions about invoices by writing Python.
To read one: `import keybearer; keybearer.http("stripe").get("/v1/invoices/in_1Abc").json()`.
Print what you want to see."""


async def main(task: str) -> None:
    model = OpenAIChatCompletionClient(model="gpt-4o")
    agent = AssistantAgent(
        "analyst",
        model_client=model,
        tools=[PythonCodeExecutionTool(KeybearerCodeExecutor())],
        system_message=HOW,
        reflect_on_tool_use=True,
    )
    # Code that runs when the time is up, or when Ctrl-C comes, is stopped: what it hasn't sent by then isn't sent.
    with cancellation(seconds=300) as token:
        result = await agent.run(task=task, cancellation_token=token)
    for message in result.messages:
        if isinstance(message, ToolCallExecutionEvent):
            print("[sees]", *(result.content for result in message.content))
    print(result.messages[-1].content)
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
