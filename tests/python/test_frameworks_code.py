"""Code that agents of each framework write, in the host's sandbox: it makes a credentialed call, and finds no key."""

import pytest

from frameworks import EXAMPLES, python_of, run_script
from surroundings import charges, new_customer

# As a model writes it that was told how, and as one that was talked into looking for secrets.
READS = 'import keybearer\nprint(keybearer.http("stripe").get("/v1/invoices/{}").json()["status"])\n'
PRYING = """
import os
print("environment:", dict(os.environ))
looks = [
    lambda: os.popen("printenv").read(),
    lambda: __import__("subprocess").check_output("printenv"),
    lambda: open("/proc/self/environ").read(),
]
for look in looks:
    try:
        print("found:", look())
    except Exception as error:
        print("nothing:", type(error).__name__)
"""
CHARGES = """
import keybearer
try:
    print(keybearer.http("stripe").post("/v1/charges", form={{"amount": 100, "currency": "usd", "customer": "{}"}}))
except keybearer.Denied as denied:
    print("denied:", denied)
"""

# The example, its environment, and how its model has code run.
FRAMEWORKS = {
    "autogen": ("code_execution.py", None, lambda code: [("CodeExecutor", {"code": code})]),
    "classic": ("v02_code.py", "classic", lambda code: f"```python\n{code}\n```"),
    "ag2": ("ag2_code.py", "ag2", lambda code: [("run_code", {"code": code, "language": "python"})]),
}


@pytest.fixture(params=FRAMEWORKS)
def run(request, code_host, models):
    """Has the framework's agent run this code: what its model is told of it."""
    script, venv, calls = FRAMEWORKS[request.param]

    def example(code, token):
        models.script("gpt-4o", calls(code), "Done.")
        env = {"KEYBEARER_URL": code_host.url, "KEYBEARER_TOKEN": token, **models.environment()}
        python = {"python": python_of(venv)} if venv else {}
        printed = run_script(EXAMPLES / script, "How much is due?", **python, **env)
        assert "Done." in printed and models.left() == {}
        assert token not in printed and token.encode() not in models.everything()
        last = models.messages("gpt-4o")[-1]
        return last[-1]["content"]

    return example


# One environment, used, and then given to two agents: each copies what it's given.
SHARED = """
import asyncio
from ag2 import Agent
from ag2.config import OpenAIConfig
from ag2.tools import SandboxCodeTool
from keybearer_autogen import KeybearerCodeEnvironment

async def main():
    environment = KeybearerCodeEnvironment()
    print((await environment.run("print('used')", "python")).output)
    for name in ("first", "second"):
        agent = Agent(name, config=OpenAIConfig(model="gpt-4o"), tools=[SandboxCodeTool(environment)])
        print((await agent.ask("Run it.")).body)

asyncio.run(main())
"""


@pytest.fixture
def token(code_host):
    return code_host.mint(tools=["run_python"], operations=["stripe:get_invoice"])["token"]


def test_code_reads_with_a_key_that_it_does_not_see(run, code_host, stripe, token, key, models):
    told = run(READS.format(stripe.facts["invoice"]), token)
    assert "draft" in told
    assert key.encode() in code_host.front.transcript.read_bytes()
    assert key.encode() not in models.everything()


def test_printenv_shows_nothing(run, token, key, monkeypatch):
    # Where an executor on this machine would run the code, all of this would be found.
    monkeypatch.setenv("STRIPE_API_KEY", key)
    told = run(PRYING, token)
    assert "environment: {}" in told and "found:" not in told and told.count("nothing:") == 3
    assert key not in told and token not in told and "kbt_" not in told


def test_a_code_executor_agent(code_host, stripe, token, key):
    env = {"KEYBEARER_URL": code_host.url, "KEYBEARER_TOKEN": token}
    printed = run_script(EXAMPLES / "sandboxed_code.py", "--invoice", stripe.facts["invoice"], **env)
    _, told = printed.split("runner says:")
    assert "due: 5100 usd\nenvironment: {}\n" in told and "FileNotFoundError" in told
    assert key not in printed and token not in printed


def test_ag2_s_agents_share_an_environment_that_was_used(code_host, token, models, tmp_path):
    call = [("run_code", {"code": "print(6 * 7)", "language": "python"})]
    models.script("gpt-4o", call, "First.", call, "Second.")
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    env = {"KEYBEARER_URL": code_host.url, "KEYBEARER_TOKEN": token, **models.environment()}
    printed = run_script(script, python=python_of("ag2"), **env)
    assert printed.split() == ["used", "First.", "Second."]
    assert all("42" in result for result in models.results("gpt-4o"))


def test_code_reaches_no_further_than_its_token(run, upstream, token):
    customer = new_customer(upstream)
    told = run(CHARGES.format(customer), token)
    assert "denied:" in told and "stripe:create_charge" in told
    assert charges(upstream, {customer}) == {}


def test_a_token_without_the_right_runs_no_code(run, code_host):
    token = code_host.mint(tools=["get_invoice"], operations=["stripe:*"])["token"]
    told = run("print(6 * 7)", token)
    assert "42" not in told and "The call failed" in told
