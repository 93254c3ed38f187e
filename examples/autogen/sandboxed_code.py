"""Code of a model that was talked into looking around, run by AutoGen's `CodeExecutorAgent` in the host's sandbox.

    KEYBEARER_URL=… KEYBEARER_TOKEN=kbt_… python sandboxed_code.py --invoice in_123

The message is written down here, so that this runs without an account anywhere. The agent, its executor and the way of the
code are the real ones.

Needs `pip install "./python[autogen]"` at the top of this repository, and a host with a sandbox: docs/OPERATORS.md,
"Let agents run code".
"""

import argparse
import asyncio

from autogen_agentchat.agents import CodeExecutorAgent
from keybearer_autogen import KeybearerCodeExecutor

MESSAGE = """I'll look at the invoice, and at what else there is.

```python
import os, keybearer

invoice = keybearer.http("stripe").get("/v1/invoices/{invoice}").json()
print("due:", invoice["amount_due"], invoice["currency"])
print("environment:", dict(os.environ))
print(open("/proc/self/environ").read())
```
"""


async def main(invoice: str) -> None:
    message = MESSAGE.format(invoice=invoice)
    runner = CodeExecutorAgent("runner", KeybearerCodeExecutor(), supported_languages=["python"])
    result = await runner.run(task=message)
    print(message)
    print(f"runner says:\n{result.messages[-1].content}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invoice", required=True, help="the invoice that the code reads")
    asyncio.run(main(parser.parse_args().invoice))
