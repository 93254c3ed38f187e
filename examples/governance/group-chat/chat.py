"""A GroupChat of three roles. Each agent has a token of its own, so each gets as far as its role and no further.

    KEYBEARER_TOKEN_BILLING=kbt_… KEYBEARER_TOKEN_RECONCILIATION=kbt_… KEYBEARER_TOKEN_ANALYTICS=kbt_… \\
        python chat.py --customer cus_Acme

All three want the same: charge the customer, and look it up. With --rounds 2 they do it twice, and wait
for Enter in between, so that you can revoke one of them or stop it.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from agent import call, keybearer_tools, replayed, show

ROLES = ["billing", "reconciliation", "analytics"]


def member(role: str, customer: str, rounds: int) -> AssistantAgent:
    """An agent of this role, with the tools that its token opens."""
    # Another order each round: the same charge again would be taken for a repetition and not be made.
    turns = [
        [
            call(f"create_charge amount=4200 currency=usd customer={customer} order={role}-{number}"),
            call(f"get_customer id={customer}"),
        ]
        for number in range(1, rounds + 1)
    ]
    tools = keybearer_tools(os.environ[f"KEYBEARER_TOKEN_{role.upper()}"])
    return AssistantAgent(role, model_client=replayed(turns), tools=tools)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customer", required=True, help="whom to charge")
    parser.add_argument("--rounds", type=int, default=1, help="how often each of them speaks")
    options = parser.parse_args()

    members = [member(role, options.customer, options.rounds) for role in ROLES]
    # The task is a message too.
    chat = RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(1 + len(ROLES)))
    for number in range(options.rounds):
        if number:
            print("waiting for Enter", flush=True)
            sys.stdin.readline()
        async for message in chat.run_stream(task="Charge the customer, and say who it is."):
            show(message)


if __name__ == "__main__":
    asyncio.run(main())
