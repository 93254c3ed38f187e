"""The v0.2 API (AG2 classic): one agent proposes the call, another one carries it out.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python v02_style.py "What is the state of invoice in_123?"

Your function keeps its name, its types and its description. Its body was "read the key, ask Stripe, pick some fields";
now it asks the host.

Needs `pip install "autogen[openai]==0.14.1"`, in an environment without autogen-agentchat.
"""

import os
import sys
from typing import Annotated

import httpx
from autogen import ConversableAgent, LLMConfig

HOST = os.environ.get("KEYBEARER_URL", "http://127.0.0.1:7411")


def keybearer(tool: str, **arguments) -> str:
    """The tool's result, or an error in words. Both are for the model."""
    headers = {"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}"}
    try:
        # A proxy of the environment would get to see the token.
        return httpx.post(
            f"{HOST}/v1/tools/{tool}", json=arguments, headers=headers, timeout=10, trust_env=False
        ).text
    except httpx.TransportError:
        return f"The call failed: no Keybearer host answers at {HOST}."


model = LLMConfig({"model": "gpt-4o"})
billing = ConversableAgent("billing", system_message="You answer questions about invoices.", llm_config=model)
runner = ConversableAgent("runner", llm_config=False, human_input_mode="NEVER")


@runner.register_for_execution()
@billing.register_for_llm(description="Looks up a Stripe invoice by id and returns its status and the amount due.")
def get_invoice(id: Annotated[str, "The invoice's id, for example in_1Abc."]) -> str:
    return keybearer("get_invoice", id=id)


if __name__ == "__main__":
    task = " ".join(sys.argv[1:]) or sys.exit(__doc__)
    # A turn to propose the call, one to say what came of it.
    chat = runner.initiate_chat(billing, message=task, max_turns=2)
    print(f"answer: {chat.summary}")
