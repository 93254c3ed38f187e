"""A retry storm: the model is to charge every customer of a list, sees one error, and starts over.

    KEYBEARER_TOKEN=kbt_… python storm.py customers.txt

The file has one customer's id a line. In the middle of the first run the model asks for a customer that isn't there. It
takes that one error for a failure of everything, and so it asks for each charge a second time.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from agent import call, keybearer_tools, replayed

# So many calls in one turn of the model; AutoGen makes them at the same time.
AT_ONCE = 4


def turns(customers: list[str], broken_at: int | None = None):
    """What the model asks for, turn by turn: one charge for each customer, and an error on the way."""
    calls = [call(f"create_charge amount=1000 currency=usd customer={customer}") for customer in customers]
    if broken_at is not None:
        calls.insert(broken_at, call("get_customer id=cus_gone"))
    return [calls[start : start + AT_ONCE] for start in range(0, len(calls), AT_ONCE)]


async def run(tools, wanted, title: str) -> set[str]:
    """Lets the agent make these calls, and counts what it sees: the charges, by id."""
    agent = AssistantAgent("collector", model_client=replayed(wanted), tools=tools)
    charges, errors = set(), []
    for _ in wanted:
        async for message in agent.run_stream(task="Charge everyone on the list."):
            if isinstance(message, ToolCallExecutionEvent):
                for result in message.content:
                    seen = json.loads(result.content)
                    if "code" in seen:
                        errors.append(seen["detail"])
                    else:
                        charges.add(seen["id"])
    print(f"{title}: {len(charges)} charges seen, {len(errors)} errors", flush=True)
    for error in errors[:3]:
        print(f"  {error}", flush=True)
    return charges


async def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    customers = Path(sys.argv[1]).read_text().split()
    tools = keybearer_tools(os.environ["KEYBEARER_TOKEN"])
    first = await run(tools, turns(customers, broken_at=len(customers) // 2), "first run")
    second = await run(tools, turns(customers), "second run")
    print(f"different charges in all: {len(first | second)}")


if __name__ == "__main__":
    asyncio.run(main())
