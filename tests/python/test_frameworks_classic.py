"""The v0.2 API (AG2 classic), as the examples use it, in an environment of its own."""

import json

import pytest

from frameworks import EXAMPLES, codes, last_seq, python_of, rows_after, run_script
from scripted import TOKEN, Reply, Scripted
from surroundings import charges, new_customer
from test_package_docs import blocks

GET_INVOICE = {"operations": ["stripe:get_invoice"], "tools": ["get_invoice"]}


@pytest.fixture
def run(host, models):
    """Runs an example with the scripted model behind it."""

    def example(script, *arguments, **env):
        env = {"KEYBEARER_URL": host.url, **models.environment(), **env}
        return run_script(EXAMPLES / script, *arguments, python=python_of("classic"), **env)

    return example


def test_one_proposes_and_another_carries_out(host, models, stripe, run, key):
    invoice, token = stripe.facts["invoice"], host.mint(**GET_INVOICE)["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run("v02_style.py", f"What is the state of invoice {invoice}?", KEYBEARER_TOKEN=token)
    assert "answer: It is a draft." in printed
    offered = models.tools("gpt-4o")["get_invoice"]
    assert set(offered["parameters"]["properties"]) == {"id"} and "invoice" in offered["description"]
    [seen] = models.results("gpt-4o")
    assert json.loads(seen)["id"] == invoice
    for secret in (key, token):
        assert secret not in printed and secret.encode() not in models.everything()


def test_a_refusal_is_a_result_that_the_model_reads(host, models, stripe, run):
    invoice = stripe.facts["invoice"]
    token = host.mint(tools=["get_invoice"], operations=["stripe:get_customer"])["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "I may not.")
    run("v02_style.py", "Look it up.", KEYBEARER_TOKEN=token)
    assert codes(models.results("gpt-4o")) == ["denied"]


def test_each_of_a_group_chat_acts_with_its_own_token(host, models, upstream, run):
    customer = new_customer(upstream)
    tools = ["create_charge", "get_customer"]
    tokens = {
        "KEYBEARER_TOKEN_BILLING": host.mint(agent="billing", tools=tools, operations=["stripe:*"])["token"],
        "KEYBEARER_TOKEN_ANALYTICS": host.mint(agent="analytics", tools=tools, operations=["stripe:get_customer"])[
            "token"
        ],
    }
    before = last_seq(host)
    for role in ("billing", "analytics"):
        charge = {"amount": 4200, "currency": "usd", "customer": customer, "order": role}
        models.script(f"gpt-4o-{role}", [("create_charge", charge), ("get_customer", {"id": customer})], "Done.")
    run("v02_group_chat.py", "Charge the customer.", **tokens)
    assert models.left() == {}
    assert codes(models.results("gpt-4o-billing")) == [None, None]
    assert codes(models.results("gpt-4o-analytics"))[2:] == ["denied", None], "after what billing's calls came to"
    assert [charge["metadata"]["order"] for charge in charges(upstream, {customer}).values()] == ["billing"]
    calls = [(row["agent"], row["tool"]) for row in rows_after(host, before) if row["event"] == "call_begun"]
    assert sorted(calls) == [(role, tool) for role in ("analytics", "billing") for tool in tools]
    for token in tokens.values():
        assert token.encode() not in models.everything()


# A person, three agents and a manager. Each agent notes what its model would read.
CHAT = """
import json, os
from autogen import ConversableAgent, GroupChat, GroupChatManager
from keybearer_autogen.secrets import SecretFilter

SECRET, KEPT = os.environ["SECRET"], os.environ["HOOKS"].split()
secrets = SecretFilter("u-17")
read = []

def member(name):
    agent = ConversableAgent(name, llm_config=False, human_input_mode="NEVER")
    def reply(recipient, messages=None, sender=None, config=None):
        read.append(json.dumps(messages))
        return True, f"I am {name}."
    agent.register_reply([ConversableAgent, None], reply, position=0)
    return agent

agents = [member(name) for name in ("first", "second", "third")]
user = ConversableAgent("user", llm_config=False, human_input_mode="NEVER")
PAGE
for agent in (user, *agents):
    for name, hooks in agent.hook_lists.items():
        if name not in KEPT:
            hooks.clear()

chat = GroupChat(agents, max_round=7, speaker_selection_method="round_robin")
manager = GroupChatManager(chat, llm_config=False, human_input_mode="NEVER")
user.initiate_chat(manager, message=f"My token is {SECRET}", silent=True)
message = {"content": f"My token is {SECRET}", "context": {"more": SECRET}}
user.initiate_chat(agents[0], message=message, max_turns=1, silent=True)
stored = [json.dumps(list(one._oai_messages.values())) for one in (user, manager, *agents)] + [json.dumps(chat.messages)]
print(json.dumps({"read": read, "stored": stored}))
"""


@pytest.mark.parametrize("hooks", ["process_message_before_send", "process_all_messages_before_reply"])
def test_no_agent_of_a_group_chat_reads_what_a_user_typed(hooks, tmp_path):
    """Each of the page's two hooks by itself keeps it from the agents, the first one from all that is stored as well."""
    secret, script = "ghp_" + "a1B2c3D4e5F6" * 3, tmp_path / "chat.py"
    [page] = blocks("docs/AUTOGEN.md", "The same in v0.2 and AG2 classic")
    script.write_text(CHAT.replace("PAGE", page))
    with Scripted(Reply(200, {"reference": "secret:x", "label": "x", "version": 1})) as host:
        env = {"KEYBEARER_URL": host.url, "KEYBEARER_TOKEN": TOKEN, "SECRET": secret, "HOOKS": hooks}
        seen = json.loads(run_script(script, python=python_of("classic"), **env).splitlines()[-1])
    assert len(seen["read"]) == 7, "each of the three twice, and the first once more"
    assert not [one for one in seen["read"] if secret in one]
    if hooks == "process_message_before_send":
        assert not [one for one in seen["stored"] if secret in one]
        assert [body for _, _, _, body in host.asked] == [{"secret": secret}]
        assert "[secret:github-token-" in seen["read"][0]
    else:
        assert host.asked == [], "what others say is stored for nobody"
        assert "[secret removed: github-token]" in seen["read"][0]
