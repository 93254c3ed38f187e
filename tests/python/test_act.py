"""The quick start of another platform for capability tokens, done with a host of ours: its five steps by curl and Python,
in the platform's shapes, with the base URL, the keys and the ids changed and nothing else. The agents are AutoGen's."""

import asyncio
import json
import subprocess
from uuid import uuid4

import pytest
import requests
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from surroundings import PATIENCE_S, clean_environment

# A step as it's typed: only the two variables are ours.
STEP = """
curl --silent --show-error -X POST $ACT_BASE_URL{path} \\
  -H "X-Api-Key: $ACT_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{body}'
"""
PLANNER = {
    "name": "Planner Agent",
    "description": "Plans what is to be done",
    "metadata": {"framework": "autogen", "role": "planner", "system_prompt": "You plan tasks"},
}
EXECUTOR = {
    "name": "Executor Agent",
    "description": "Does what was approved",
    "metadata": {"framework": "autogen", "role": "executor"},
}
PLANNING = {
    "name": "Planner Capabilities",
    "actions": ["read", "list", "plan"],
    "resources": ["api://tasks/*", "api://workflows/*"],
    "effect": "allow",
}
EXECUTING = {
    "name": "Executor Capabilities",
    "actions": ["execute", "update"],
    "resources": ["api://tasks/execute/*"],
    "effect": "allow",
    "constraints": {"requiresApproval": True, "maxConcurrentTasks": 5},
}


@pytest.fixture
def step(host):
    """Types one curl command, and reads what it prints."""
    env = {**clean_environment(), "ACT_API_KEY": host.operator_token, "ACT_BASE_URL": host.url}

    def type_it(path, body):
        command = STEP.format(path=path, body=json.dumps(body))
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return json.loads(done.stdout)

    return type_it


@pytest.fixture
def platform(host, step):
    """Everything that is set up once: agents, their policies, and a token for each."""
    made = []
    tokens = {}
    for name, agent in (("planner", PLANNER), ("executor", EXECUTOR)):
        agent = step("/v1/agents", agent)
        made.append(f"/v1/agents/{agent['id']}")
        tokens[name] = step("/v1/tokens", {"agentId": agent["id"], "expiresIn": 3600})["token"]
    for policy in (PLANNING, EXECUTING):
        made.append(f"/v1/policies/{step('/v1/policies', policy)['id']}")
    yield tokens
    for path in made:
        assert host.as_operator("DELETE", path).is_success


def validator(host):
    """What the platform's own integration does before each function of an agent."""

    def validate(token, action, resource):
        response = requests.post(
            f"{host.url}/v1/enforce",
            headers={"X-Api-Key": host.operator_token, "Content-Type": "application/json"},
            json={
                "requestId": str(uuid4()),
                "capabilityToken": token,
                "action": action,
                "resourceId": resource,
                "tenantId": "default-tenant",
                "context": {},
            },
            timeout=30,
        )
        return response.json()["decision"] == "allowed"

    return validate


def agent(name, function, **arguments):
    """An AssistantAgent whose model calls its one function, and says what came of it."""
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    call = FunctionCall(id="call_1", name=function.__name__, arguments=json.dumps(arguments))
    wants = CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False)
    abilities = ModelInfo(
        vision=False, function_calling=True, json_output=False, structured_output=False, family=ModelFamily.UNKNOWN
    )
    return AssistantAgent(name, model_client=ReplayChatCompletionClient([wants], model_info=abilities), tools=[function])


def chat(*agents):
    """What each agent says in a round of a group chat."""
    team = RoundRobinGroupChat(list(agents), termination_condition=MaxMessageTermination(1 + len(agents)))
    result = asyncio.run(team.run(task="Please plan and do the quarterly report."))
    return {message.source: message.content for message in result.messages if isinstance(message.content, str)}


def test_the_steps_of_another_platform_run_as_they_stand(host, platform):
    validate = validator(host)

    def plan_workflow(objective: str) -> str:
        """Plans."""
        if not validate(platform["planner"], "plan", "api://workflows/plan"):
            return "Planning not permitted"
        return f"Plan for: {objective}"

    def execute_task(task: str) -> str:
        """Does a task."""
        if not validate(platform["executor"], "execute", f"api://tasks/execute/{task}"):
            return "Execution not permitted"
        return f"Executed task: {task}"

    def round_of_chat():
        return chat(agent("planner", plan_workflow, objective="report"), agent("executor", execute_task, task="7"))

    said = round_of_chat()
    assert said["planner"] == "Plan for: report"
    assert said["executor"] == "Execution not permitted"

    # A person agrees to just that; then the same function, unchanged, goes through once.
    waiting = host.as_operator("GET", "/v1/approvals", params={"state": "pending"}).json()["approvals"]
    [approval] = [one for one in waiting if one["resource"] == "api://tasks/execute/7"]
    assert host.as_operator("POST", f"/v1/approvals/{approval['id']}/approve").json()["state"] == "granted"
    assert round_of_chat()["executor"] == "Executed task: 7"
    assert round_of_chat()["executor"] == "Execution not permitted"


def test_neither_agent_does_the_others_part_nor_goes_on_without_its_token(host, platform):
    validate = validator(host)
    planner, executor = platform["planner"], platform["executor"]
    assert not validate(planner, "delete", "api://tasks/7")
    assert not validate(planner, "plan", "api://secrets/7")
    assert not validate(executor, "execute", "api://tasks/7")
    assert validate(planner, "read", "api://tasks/7")
    [token] = [one for one in host.as_operator("GET", "/v1/tokens").json()["tokens"] if one["role"] == "planner"][:1]
    assert host.as_operator("DELETE", f"/v1/tokens/{token['id']}").is_success
    assert not validate(planner, "read", "api://tasks/7")
