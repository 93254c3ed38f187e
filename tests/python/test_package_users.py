"""A user types a key into the chat: it's kept by a real host for that user, used by a tool, and seen by nobody else."""

import asyncio
import json
import logging
import re
import secrets

import pytest
from autogen_agentchat.agents import AssistantAgent
from keybearer_autogen import AsyncTokenMint, Grant, KeybearerWorkbench, TokenMint
from keybearer_autogen.secrets import SecretFilter, SecretFreeContext, SecretNotStored

from surroundings import SECRET
from test_package_docs import blocks, run
from test_package_workbench import model, results
from test_user_secrets import host as host  # One whose connection uses its caller's own secret.

USING = Grant("helper", tools=["get_invoice"], operations=["stripe:get_invoice"], user="ann")
STORING = Grant("chat", user="ann", may_store_secrets=True)


@pytest.fixture
def tokens(host):
    with TokenMint(url=host.url, token=host.operator_token).group({"using": USING, "storing": STORING}) as minted:
        yield minted


@pytest.fixture
def own():
    """The user's key."""
    return f"sk_test_{secrets.token_hex(16)}"


def secret_filter(host, token, **more):
    return SecretFilter("ann", labels={"stripe-key": SECRET}, url=host.url, token=token, **more)


def test_it_is_used_and_is_nowhere_to_be_found(host, stripe, tokens, own, key, caplog):
    caplog.set_level(logging.DEBUG)
    said = model(("get_invoice", {"id": stripe.facts["invoice"]}))
    typed = f"My Stripe key is {own}. What about {stripe.facts['invoice']}?"

    async def chat():
        one = secret_filter(host, tokens["storing"].token)
        agent = AssistantAgent(
            "helper",
            said,
            workbench=KeybearerWorkbench(**tokens["using"].connection),
            model_context=SecretFreeContext(one),
        )
        result = await agent.run(task=await one.clean(typed))
        return result, await agent.save_state()

    result, state = asyncio.run(chat())
    assert result.messages[0].content == typed.replace(own, f"[secret:{SECRET}]")
    [seen] = results(result.messages)
    assert not seen.is_error and json.loads(seen.content)["id"] == stripe.facts["invoice"]
    # The host used the user's key, and not its own of the same label.
    sent = host.front.transcript.read_bytes()
    assert own.encode() in sent and key.encode() not in sent
    places = {
        "what the model saw": repr(said.create_calls),
        "the result": result.model_dump_json(),
        "the agent's state": json.dumps(state),
        "this process's log": caplog.text,
        "the host's log": host.log(),
    }
    for name, content in places.items():
        assert own not in content, name
    for file in host.files():
        assert own.encode() not in file.read_bytes(), file


def test_only_a_token_for_it_stores_and_only_for_its_user(host, tokens, own):
    for one in (
        secret_filter(host, tokens["using"].token),
        SecretFilter("bob", url=host.url, token=tokens["storing"].token),
    ):
        with pytest.raises(SecretNotStored) as told:
            one.clean_now(f"My key is {own}")
        assert told.value.request_sent == "no" and own not in str(told.value)
    # An operator of the tenant may.
    assert own not in secret_filter(host, host.operator_token).clean_now(f"My key is {own}")


def test_the_next_one_takes_its_place(host, stripe, tokens, own):
    one = secret_filter(host, tokens["storing"].token)
    first = f"sk_test_{secrets.token_hex(16)}"
    one.clean_now([first, own])
    listed = host.ask("GET", "/v1/users/ann/secrets", tokens["storing"].token.reveal()).json()["secrets"]
    assert [secret["label"] for secret in listed] == [SECRET] * len(listed)
    bench = KeybearerWorkbench(**tokens["using"].connection)
    assert not asyncio.run(bench.call_tool("get_invoice", {"id": stripe.facts["invoice"]})).is_error
    sent = host.front.transcript.read_bytes()
    assert own.encode() in sent and first.encode() not in sent


def test_one_too_many_is_cut_out_and_one_that_is_known_is_not(host, tokens):
    def clean(texts):
        return SecretFilter("ann", url=host.url, token=tokens["storing"].token).clean_now(texts)

    keys = [f"sk_test_{secrets.token_hex(16)}" for _ in range(101)]
    cleaned = clean(keys)
    assert [text.startswith("[secret:stripe-key-") for text in cleaned] == [True] * 100 + [False]
    assert cleaned[100] == "[secret removed, not stored: stripe-key]"
    # Typed again, it needs no place.
    assert clean(keys[:1]) == cleaned[:1]
    # The clean-up that the page tells of.
    label = cleaned[0].removeprefix("[secret:").removesuffix("]")
    gone = host.ask("DELETE", f"/v1/users/ann/secrets/{label}", tokens["storing"].token.reveal())
    assert gone.status_code == 204 and clean(keys[100:])[0].startswith("[secret:stripe-key-")


def test_all_kinds_of_secrets_fit_what_the_host_takes(host, tokens):
    from test_package_secrets import SECRETS

    one = secret_filter(host, tokens["storing"].token)
    for kind, secret, around in SECRETS:
        cleaned = one.clean_now(around.format(secret))
        assert secret not in cleaned
        if len(secret) >= 8 and "\n" not in secret:
            assert re.search(r"\[secret:[\w-]+\]", cleaned), (kind, cleaned)


def test_the_page_s_examples(host, stripe, tokens, monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    monkeypatch.setenv("KEYBEARER_TOKEN", host.token)
    code, leased = blocks("docs/AUTOGEN.md", "A user's own secrets")
    minted = TokenMint(url=host.url, token=host.operator_token).mint(Grant("chat", user="u-17", may_store_secrets=True))
    monkeypatch.setenv("KEYBEARER_STORING_TOKEN", minted.token.reveal())
    secret = "ghp_" + secrets.token_hex(18)
    names = {
        "model": model("It's kept."),
        "text": f"my token is {secret}",
        "AssistantAgent": AssistantAgent,
        "KeybearerWorkbench": KeybearerWorkbench,
    }
    asyncio.run(run(names, code))
    assert names["result"].messages[0].content == "my token is [secret:github]"
    # With a lease's token, bound to a conversation.
    monkeypatch.setenv("KEYBEARER_STORING_TOKEN", "gone")
    agent = AssistantAgent("helper", model("It's kept, too."))
    names |= {"agent": agent, "mint": AsyncTokenMint(url=host.url, token=host.operator_token), "Grant": Grant}
    asyncio.run(run(names, leased))
    assert names["result"].messages[0].content.startswith("my token is [secret:github-token-")
