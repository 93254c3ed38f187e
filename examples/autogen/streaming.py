"""The same agent, streaming: the model's words as they come, and what its tools answered in between.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python streaming.py "What is the state of invoice in_123?"

The tools are a workbench of Keybearer's own package, which takes address and token from the environment.

Needs `pip install "./python[autogen]" "autogen-ext[openai]"` at the top of this repository.
"""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, ToolCallExecutionEvent, ToolCallRequestEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from keybearer_autogen import KeybearerWorkbench, cancellation


async def main(task: str) -> None:
    model = OpenAIChatCompletionClient(model="gpt-4o")
    async with KeybearerWorkbench() as workbench:
        agent = AssistantAgent(
            "billing",
            model_client=model,
            workbench=workbench,
            system_message="You answer questions about invoices.",
            reflect_on_tool_use=True,
            model_client_stream=True,
        )
        # Whatever ends this block, Ctrl-C too, stops the call that is under way.
        with cancellation() as token:
            async for event in agent.run_stream(task=task, cancellation_token=token):
                if isinstance(event, ModelClientStreamingChunkEvent):
                    print(event.content, end="", flush=True)
                elif isinstance(event, ToolCallRequestEvent):
                    print("[calls]", *(f"{call.name} {call.arguments}" for call in event.content))
                elif isinstance(event, ToolCallExecutionEvent):
                    print("[sees]", *(result.content for result in event.content))
                elif isinstance(event, TaskResult):
                    print(f"\n[ended after {len(event.messages)} messages]")
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or sys.exit(__doc__)))
