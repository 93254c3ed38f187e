"""A platform with many tenants: each request gets an agent of its own, with a token of its own.

    KEYBEARER_URL=… KEYBEARER_TOKEN_ACME=kbt_… KEYBEARER_TOKEN_GLOBEX=kbt_… OPENAI_API_KEY=… \\
        python multi_tenant.py acme "What is the state of invoice in_123?"

For each tenant the platform holds one token that may delegate, and no key of anybody's. A request gets a token below it,
for one tool, one conversation and five minutes. The host reads the tenant from the token, and the key from that tenant's
vault: there is nothing here that could reach for another tenant's. An operator makes a tenant's token like this:

    keybearer token mint --tenant acme --agent platform --may-delegate \\
        --tool get_invoice --operation stripe:get_invoice --ttl 30d

Needs `pip install autogen-agentchat "autogen-ext[http-tool,openai]"`.
"""

import asyncio
import os
import sys
import uuid

import httpx
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_core.models import ChatCompletionClient
from autogen_ext.models.openai import OpenAIChatCompletionClient

from single_agent import keybearer_tools


def token_for_request(tenant: str, conversation: str) -> str:
    """A token for one request of this tenant, which can do less than the platform's own."""
    try:
        platform = os.environ[f"KEYBEARER_TOKEN_{tenant.upper()}"]
    except KeyError:
        sys.exit(f"there is no token for the tenant {tenant}")
    wanted = {
        "agent": "billing",
        "tools": ["get_invoice"],
        "operations": ["stripe:get_invoice"],
        "conversation": conversation,
        "expires_in_seconds": 300,
    }
    reply = httpx.post(
        f"{os.environ['KEYBEARER_URL']}/v1/tokens/delegate",
        json=wanted,
        headers={"Authorization": f"Bearer {platform}"},
        # A proxy of the environment would get to see the token.
        trust_env=False,
    )
    if reply.is_error:
        sys.exit(f"the host refused: {reply.json()['detail']}")
    return reply.json()["token"]


def build_agent_for_request(tenant: str, model: ChatCompletionClient) -> AssistantAgent:
    """An agent that ends with its request."""
    token = token_for_request(tenant, conversation=f"{tenant}-{uuid.uuid4()}")
    return AssistantAgent(
        "billing",
        model_client=model,
        tools=keybearer_tools(token),
        system_message="You answer questions about invoices.",
        reflect_on_tool_use=True,
    )


async def main(tenant: str, task: str) -> None:
    model = OpenAIChatCompletionClient(model="gpt-4o")
    result = await build_agent_for_request(tenant, model).run(task=task)
    for message in result.messages:
        if isinstance(message, ToolCallExecutionEvent):
            print("[sees]", *(result.content for result in message.content))
    print(result.messages[-1].content)
    await model.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
