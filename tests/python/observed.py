"""An agent at one door of the host, observed: all that it leaves behind is written to a file.

    python observed.py DOOR OUT

Its messages, its state, its tools' results, the dumps of its components, its logs in full (those of httpx, OpenAI's client
and AutoGen too), and its traces, with httpx instrumented.
"""

import asyncio
import json
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/autogen"))

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import SingleThreadedAgentRuntime
from autogen_ext.models.openai import OpenAIChatCompletionClient
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

URL, TOKEN = os.environ["KEYBEARER_URL"], os.environ["KEYBEARER_TOKEN"]


async def http(_):
    """AutoGen's HttpTool."""
    from single_agent import keybearer_tools

    return {"tools": keybearer_tools()}


async def mcp(stack):
    """AutoGen's own MCP workbench."""
    from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams

    headers = {"Authorization": f"Bearer {TOKEN}"}
    workbench = McpWorkbench(StreamableHttpServerParams(url=f"{URL}/mcp", headers=headers))
    return {"workbench": await stack.enter_async_context(workbench)}


async def workbench(stack):
    """The package's workbench."""
    from keybearer_autogen import KeybearerWorkbench

    return {"workbench": await stack.enter_async_context(KeybearerWorkbench())}


async def code(_):
    """AutoGen's tool for code, over the host's sandbox."""
    from autogen_ext.tools.code_execution import PythonCodeExecutionTool
    from keybearer_autogen import KeybearerCodeExecutor

    return {"tools": [PythonCodeExecutionTool(KeybearerCodeExecutor())]}


async def sdk(_):
    """A tool of the agent's own, with Stripe's SDK turned to the proxy."""
    import stripe

    stripe.api_key, stripe.api_base = TOKEN, f"{URL}/proxy/stripe"

    def get_invoice(id: str) -> str:
        """Looks up an invoice."""
        return str(stripe.Invoice.retrieve(id))

    def create_charge(amount: int, currency: str, customer: str) -> str:
        """Charges a customer."""
        return str(stripe.Charge.create(amount=amount, currency=currency, customer=customer))

    return {"tools": [get_invoice, create_charge]}


DOORS = {door.__name__: door for door in (http, mcp, workbench, code, sdk)}


async def main(door: str, out: str) -> None:
    log = Path(out).with_suffix(".log")
    logging.basicConfig(level=logging.DEBUG, filename=log)
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()

    async with AsyncExitStack() as stack:
        agent = AssistantAgent(
            "billing",
            model_client=OpenAIChatCompletionClient(model="gpt-4o"),
            max_tool_iterations=8,
            **await DOORS[door](stack),
        )
        runtime = SingleThreadedAgentRuntime(tracer_provider=provider)
        team = RoundRobinGroupChat([agent], termination_condition=MaxMessageTermination(2), runtime=runtime)
        runtime.start()
        messages = [message async for message in team.run_stream(task="Do what you have to.")]
        state = await team.save_state()
        await runtime.stop_when_idle()
        seen = {
            "messages": [message.dump() for message in messages[:-1]],
            "state": state,
            "spans": [json.loads(span.to_json()) for span in spans.get_finished_spans()],
            "log": log.read_text(),
            "dumps": dumps(agent),
        }
    Path(out).write_text(json.dumps(seen, default=str))


def dumps(agent):
    """What AutoGen would write of this agent into a file."""
    try:
        return [agent.dump_component().model_dump()]
    except NotImplementedError as error:
        return [str(error)]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
