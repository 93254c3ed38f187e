"""A GroupChat of the v0.2 API (AG2 classic) whose agents have a token each.

    KEYBEARER_URL=… KEYBEARER_TOKEN_BILLING=kbt_… KEYBEARER_TOKEN_ANALYTICS=kbt_… OPENAI_API_KEY=… \\
        python v02_group_chat.py "Charge cus_Acme 42 dollars."

In this API whoever speaks after a proposal carries it out, if it knows a tool of that name. With one runner for all, every
agent would act with the runner's rights. So here each agent carries its own calls out, with its own token.

Needs `pip install "autogen[openai]==0.14.1"`, in an environment without autogen-agentchat.
"""

import os
import sys

import httpx
from autogen import ConversableAgent, GroupChat, GroupChatManager, LLMConfig
from autogen.tools import Tool

HOST = os.environ.get("KEYBEARER_URL", "http://127.0.0.1:7411")
ROLES = ["billing", "analytics"]


def keybearer_tools(token: str) -> list[Tool]:
    """The tools that this token may call, with the host's own descriptions and schemas."""
    # A proxy of the environment would get to see the token.
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx.Client(base_url=HOST, headers=headers, timeout=10, trust_env=False)
    reply = client.get("/v1/tools")
    if reply.is_error:
        sys.exit(f"the host refused: {reply.json()['detail']}")

    def calls(name: str):
        def call(**arguments) -> str:
            try:
                return client.post(f"/v1/tools/{name}", json=arguments).text
            except httpx.TransportError:
                return f"The call failed: no Keybearer host answers at {HOST}."

        return call

    return [
        Tool(
            name=tool["name"],
            description=tool["description"],
            func_or_tool=calls(tool["name"]),
            parameters_json_schema=tool["input_schema"],
        )
        for tool in reply.json()["tools"]
    ]


def member(role: str) -> ConversableAgent:
    agent = ConversableAgent(role, system_message=f"You do {role}.", llm_config=LLMConfig({"model": f"gpt-4o-{role}"}))
    for tool in keybearer_tools(os.environ[f"KEYBEARER_TOKEN_{role.upper()}"]):
        tool.register_tool(agent)
    return agent


def next_speaker(last: ConversableAgent, chat: GroupChat) -> ConversableAgent:
    """Whoever proposed a call carries it out, and says what came of it. Then it's the next one's turn."""
    latest = chat.messages[-1]
    if last in chat.agents and (latest.get("tool_calls") or latest["role"] == "tool"):
        return last
    return chat.next_agent(last, chat.agents)


def main(task: str) -> None:
    members = [member(role) for role in ROLES]
    # A proposal, its result and a word on it, of each.
    chat = GroupChat(members, max_round=1 + 3 * len(members), speaker_selection_method=next_speaker)
    manager = GroupChatManager(chat, llm_config=False, human_input_mode="NEVER")
    user = ConversableAgent("user", llm_config=False, human_input_mode="NEVER")
    user.initiate_chat(manager, message=task)
    for message in chat.messages:
        print(f"{message.get('name')}: {message.get('content') or message.get('tool_calls')}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or sys.exit(__doc__))
