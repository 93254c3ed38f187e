"""One program, print('hi'), run by the host's sandbox over HTTP and by AutoGen's own local executor, turn by turn.

`keybearer dev` starts this with the host's address and a token in the environment; see xtask/src/bench.rs.
"""

import asyncio
import http.client
import json
import os
import statistics
import tempfile
import time
import urllib.parse

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.local import LocalCommandLineCodeExecutor

CODE = "print('hi')"
WARM_UP = 30
ROUNDS = 200


class Sandbox:
    """The host, over one connection that is kept."""

    def __init__(self):
        address = urllib.parse.urlsplit(os.environ["KEYBEARER_URL"])
        self._connection = http.client.HTTPConnection(address.hostname, address.port)
        self._headers = {"Authorization": f"Bearer {os.environ['KEYBEARER_TOKEN']}", "Content-Type": "application/json"}
        self._body = json.dumps({"blocks": [{"language": "python", "code": CODE}]})

    async def run(self):
        self._connection.request("POST", "/v1/code", self._body, self._headers)
        reply = self._connection.getresponse()
        answer = json.loads(reply.read())
        assert (reply.status, answer.get("exit_code"), answer.get("output")) == (200, 0, "hi\n"), answer


class Local:
    """AutoGen's executor: a process for each program, with all that its user may do."""

    def __init__(self, folder):
        self._executor = LocalCommandLineCodeExecutor(work_dir=folder)

    async def run(self):
        result = await self._executor.execute_code_blocks([CodeBlock(code=CODE, language="python")], CancellationToken())
        assert (result.exit_code, result.output) == (0, "hi\n"), result


async def measure(runners):
    """Milliseconds of each run, for each runner."""
    took = [[] for _ in runners]
    for turn in range(WARM_UP + ROUNDS):
        for runner, times in zip(runners, took):
            started = time.perf_counter()
            await runner.run()
            if turn >= WARM_UP:
                times.append((time.perf_counter() - started) * 1e3)
    return took


def percentiles(times):
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def main():
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (percentiles(times) for times in asyncio.run(measure([Sandbox(), Local(folder)])))
    for name, our, their in zip(("p50", "p99"), ours, theirs):
        reached = "yes" if our / their <= 0.2 else "NO"
        print(
            f"| o print('hi') over HTTP beside LocalCommandLineCodeExecutor: {name} | {our:.1f} ms | {their:.1f} ms "
            f"| {our / their:.2f} | ≤ 0.20 | {reached} |"
        )


if __name__ == "__main__":
    main()
