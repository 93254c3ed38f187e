"""The v0.2 API (AG2 classic): one agent writes Python in its messages, another one has it run in the host's sandbox.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… OPENAI_API_KEY=… python v02_code.py "How much is due on invoice in_123?"

Needs `pip install ./python "autogen[openai]==0.14.1"`, in an environment without autogen-agentchat, and a host with
a sandbox: docs/OPERATORS.md, "Let agents run code".
"""

import sys

from autogen import ConversableAgent, LLMConfig
from keybearer_autogen import KeybearerClassicCodeExecutor

HOW = """You answer questions about invoices by writing Python, in a block that starts with ```python.
To read one: `import keybearer; keybearer.http("stripe").get("/v1/invoices/in_1Abc").json()`.
Print what you want to see."""

analyst = ConversableAgent("analyst", system_message=HOW, llm_config=LLMConfig({"model": "gpt-4o"}))
runner = ConversableAgent(
    "runner",
    llm_config=False,
    human_input_mode="NEVER",
    code_execution_config={"executor": KeybearerClassicCodeExecutor()},
)

if __name__ == "__main__":
    task = " ".join(sys.argv[1:]) or sys.exit(__doc__)
    # A turn to write the code, one to say what came of it.
    chat = runner.initiate_chat(analyst, message=task, max_turns=2)
    print(f"answer: {chat.summary}")
