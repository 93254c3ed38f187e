"""keybearer-autogen takes a user's own secrets out of messages before the model sees them, and out of logs."""

import asyncio
import base64
import copy
import io
import json
import logging
import logging.handlers
import pickle
import queue
import random
import socket
import string
import sys
import threading
import time
import timeit

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import HandoffMessage, MultiModalMessage, TextMessage, ToolCallRequestEvent
from autogen_agentchat.state import AssistantAgentState
from autogen_core import FunctionCall, Image
from autogen_core.memory import ListMemory, MemoryContent, MemoryMimeType
from autogen_core.model_context import (
    BufferedChatCompletionContext,
    ChatCompletionContext,
    UnboundedChatCompletionContext,
)
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    SystemMessage,
    UserMessage,
)
from keybearer_autogen import ConfigurationError
from keybearer_autogen.secrets import (
    RedactingFormatter,
    SecretFilter,
    SecretFreeContext,
    SecretNotStored,
    find,
    redact,
    redact_logs,
)

from scripted import OPERATOR, TOKEN, Reply, Scripted, dead_port, problem
from test_package_workbench import model

chance = random.Random(7)


def some(length, alphabet=string.ascii_letters + string.digits):
    """Random text: fake, and with a digit in it."""
    return "".join(chance.choices(alphabet, k=length - 2)) + "7x"


def token_of(*parts):
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


JWT = token_of({"alg": "HS256"}, {"sub": "someone"}) + "." + some(43)
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(some(64) for _ in range(3)) + "\n-----END RSA PRIVATE KEY-----"

# kind, the secret, what it stands in
SECRETS = [
    ("stripe-key", "sk_live_" + some(24), "use {} please"),
    ("stripe-key", "rk_test_" + some(24), "({})"),
    ("stripe-webhook-secret", "whsec_" + some(32), "hook: {}."),
    ("openai-key", "sk-proj-" + some(48), "OPENAI_API_KEY={}"),
    ("openai-key", "sk-" + some(48), "{}"),
    ("anthropic-key", "sk-ant-api03-" + some(60), "key is {}"),
    ("github-token", "ghp_" + some(36), "my token is {}, thanks"),
    ("github-token", "github_pat_" + some(22) + "_" + some(59), "https://x:{}@github.com/o/r.git"),
    ("gitlab-token", "glpat-" + some(20), "git: {}"),
    ("slack-token", "xoxb-" + some(40), "slack={}&x=1"),
    ("slack-webhook", "https://hooks.slack.com/services/T0000/B0000/" + some(24), "post to {}"),
    ("aws-access-key-id", "AKIA" + "IOSFODNN7EXAMPLE", "id {}"),
    ("secret", some(40), "aws_secret_access_key = {}"),
    ("secret", some(38) + "/+", "The secret I was given is this one here: {}"),
    ("google-api-key", "AIza" + some(35), "maps {}"),
    ("google-oauth-token", "ya29." + some(40), "oauth {}"),
    ("sendgrid-key", "SG." + some(22) + "." + some(43), "mail {}"),
    ("npm-token", "npm_" + some(36), "{}"),
    ("pypi-token", "pypi-" + some(60), "{}"),
    ("huggingface-token", "hf_" + some(34), "{}"),
    ("keybearer-token", "kbt_" + some(43), "KEYBEARER_TOKEN={}"),
    ("keybearer-token", "kbm_" + some(43), "the dashboard has {}"),
    ("jwt", JWT, "Authorization: Bearer {}"),
    ("bearer-token", some(30), "curl -H 'Authorization: Bearer {}'"),
    ("private-key", PEM, "here:\n{}\nthat's it"),
    ("private-key", PEM.rsplit("\n", 1)[0], "cut off:\n{}"),
    ("password", "hunter2", "my password is {}."),
    ("password", "sunshine", "password: {}"),
    ("password", "sunshine", "Passwort: {}"),
    ("password", "Tr0ub4dor&3", "DB_PASSWORD={}"),
    ("password", "two words", 'the password is "{}" by the way'),
    ("password", "s3cret!", '{{"user": "me", "password": "{}"}}'),
    ("password", "sw0rdfish", "dbPassword='{}'"),
    ("password", "4711", "PIN: {}"),
    ("passphrase", "correct horse battery staple", "passphrase: {}"),
    ("url-password", "hunter2", "postgres://me:{}@db.internal/x"),
    ("secret", "abc-123-def", "The API key is {}"),
    ("secret", "AbCdEf", "client_secret={}"),
    ("secret", some(800), "secret: {}"),
    ("password", "sunshine", "my password is: {}"),
    ("password", "s3cr3t!xyz9", "DB_PASS={}"),
    ("password", "hunter2!", "pass: {}"),
    ("password", "$uperS3cret!9", "password: {}"),
    ("password", "$tr0ng&pw", "PGPASSWORD={}"),
    ("password", "<hunter2", "password: {}"),
    ("password", "p@ss'word12", "password: {}"),
    ("password", "p@ss'word12", "my password is {}, thanks"),
    ("password", "it'sAsecret9", '"password": "{}"'),
    ("password", "'twas9", "password: '{}'"),
    ("password", "hunter2", 'password: "{}'),
    ("password", "hunter2", '{{"note":"password: {}","more":1}}'),
    ("password", "hunter2", r'"arguments": "{{\"password\": \"{}\"}}"'),
    ("password", r"h\\\"unter2\\\\", r'"arguments": "{{\"password\": \"{}\", \"x\": 1}}"'),
    ("password", "hunter2", r'"log": "{{\"arguments\": \"{{\\\"password\\\": \\\"{}\\\"}}\"}}"'),
    ("credentials", "dXNlcjpwYXNz", r'"{{\"Authorization\": \"Basic {}\"}}"'),
    ("password", "hunter2", "token=${{TOKEN}}&password={}"),
    ("password", "hunter2", "token=[REDACTED],password={}"),
    ("password", "hunter2", "token=$(cat /run/token);password={};user=me"),
    ("url-password", "pass@word", "postgres://app:{}@db/x"),
    ("url-password", "p@ssw0rd", "postgres://app:{}@db"),
    ("url-password", "hunter2", '{{"url":"postgres://app:{}@db","mail":"me@example.com"}}'),
    # In Markdown, as people paste it.
    ("password", "hunter2", "**Password:** {}"),
    ("password", "hunter2", "**Password**: {}"),
    ("password", "hunter2", "- **DB password:** {}, thanks"),
    ("password", "hunter2", "*password:* {}"),
    ("password", "hunter2", "~~password:~~ {}"),
    ("password", "hunter2", "`password:` {}"),
    ("password", "hunter2", "Password: **{}**"),
    ("password", "hunter2", "**Password: {}**"),
    ("password", "hunter2", "Password: `{}`"),
    ("password", "hunter2**", "password: {}"),
    ("password", "hunter2", "Password:\n\n    {}"),
    ("password", "hunter2", "Password:\n\n\t  \t  {}  \nis it."),
    ("password", "hunter2", "Password:\n```\n{}\n```"),
    ("password", "hunter2", "**Password:**\n\n```text\n{}\n```"),
    ("password", "hunter2", "密码 / password：{}"),
    ("secret", "abc-123-def", "__API key:__ {}"),
    # After what stands for another character.
    ("github-token", "ghp_" + some(36), "see x%3D{}&y"),
    ("github-token", "ghp_" + some(36), "\x1b[31m{}\x1b[0m"),
    ("aws-access-key-id", "AKIA" + "IOSFODNN7EXAMPLE", "\x1b[m\x1b[1;38;5;196m{}\x1b[m"),
    ("github-token", "ghp_" + some(36), r"first\n{}"),
    # In a command.
    ("password", "hunter2", "mysql -u root --password {} db"),
    ("password", "two words", "mysql --db-password '{}'"),
    ("secret", "abc-123-def", "deploy --api-key {} --now"),
    ("secret", "abc-123-def", "deploy -token {}"),
    ("password", "hunter2!", "deploy --pass {}"),
]

INNOCENT = [
    "",
    "What is the state of invoice in_1MtHbELkdIwHu7ixl4OzzPMv?",
    "Use your token to look up invoice in_1MtHbELkdIwHu7ixl4OzzPMv for cus_NffrFeUfNV2Hib.",
    "I forgot my password and can't log in. The password is wrong, it says.",
    "How do I rotate an API key? Is the token expired?",
    "The secret of success is hard work.",
    "Shipping: tomorrow. Opinion: fine. The tokenizer: done.",
    "password: <your password>",
    "password=${DB_PASSWORD}",
    "password=$DB_PASSWORD, token: ${{ secrets.TOKEN }}",
    "password: $(cat /run/secrets/password)",
    'api_key = os.environ["API_KEY"]',
    'api_key = os.environ.get("API_KEY"), token: process.env.TOKEN',
    '{"usage": {"prompt_tokens": 1234567, "total_tokens": 1_234_567}}',
    "prompt_tokens: 1234567",
    'token_env="KEYBEARER_TOKEN"',
    "secret_name=stripe-key-production",
    '{"credentials": {"user": "me"}, "tokens": ["one", "two"]}',
    'password=""&password=&user=me',
    "The password is the user's birthday, don't-know.",
    "The first pass: all tests. PASS: tests/python/test_2.py. bypass: true1",
    "password: ********",
    "token: string",
    "see [secret:github-token-1a2b3c4d], it's stored. password: [secret:password-1a2b3c4d]",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 fixes it",
    "The key is on page 123e4567-e89b-12d3-a456-426614174000.",
    "about the key, see https://example.com/docs/a1B2c3D4e5F6g7H8i9J0k1L2m3",
    'about the key, see "/srv/build12/tests/python/test_package_secrets.py", line 4',
    "pip install sk-learn-contrib-something",
    "The bearer understands responsibilities.",
    "my-very-long-branch-name-without-any-secret-in-it",
    "Use --password to log in, the --token option, --pass through or --password-stdin example.com.",
    "login --password --user me, --token-file /run/token9, --max-tokens 4096",
    "login --password $PASSWORD --token '<your token>' --api-key ${KEY}",
    "**Password:** <your password>. The **token:** is wrong.",
    "To reset your password:\n\n```sh\npasswd somebody\n```",
    "To reset your password:\n\n      passwd somebody",
    "the list[31msk_live_abcdefgh12345678, and %sksk_live_abcdefgh12345678",
    "👍 déjà vu 秘密",
]


def cut(text):
    """The text with the kinds of what was found in its place."""
    pieces, at = [], 0
    for found in find(text):
        pieces += [text[at : found.start], " ".join(f"<{kind}>" for kind, _, _ in found.values)]
        at = found.end
    return "".join([*pieces, text[at:]])


@pytest.mark.parametrize("kind, secret, around", SECRETS)
def test_secrets_are_found(kind, secret, around):
    text = around.format(secret)
    assert cut(text) == around.format(f"<{kind}>")
    [found] = find(text)
    [(_, start, end)] = found.values
    assert text[start:end] == secret, "this is what is stored"


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text):
    assert cut(text) == text


def test_secrets_beside_each_other_are_found_each():
    one, two = "ghp_" + some(36), "sk_live_" + some(24)
    assert cut(f"token={one},{two}") == "token=<github-token> <stripe-key>"
    assert cut(f"{one} {one}") == "<github-token> <github-token>"
    assert cut(f"password: hunter2\ntoken: {one}\n") == "password: <password>\ntoken: <github-token>\n"


NEAR_MISSES = ["password ", "password=", "passphrase: ", "pass=", 'token="', r"token=\"", "token='\n", "secret: ${"]
NEAR_MISSES += ["pin=<", "api_key_", "token is ", "tokens=1", ",a", "'", "\\", "authorization: ", "bearer ", "[secret:", "a."]
NEAR_MISSES += ["--password ", "--password x", '--token "', r"--token \"", "-a_", "--a-", "-a", "**password:** ", "password:** "]
NEAR_MISSES += ["password:\n      ", "password:```\n", "password: **", "**", "password: **a", "``` "]
NEAR_MISSES += ["a://b:", "a://b:@", "@", "eyJ", "-eyJ", "_eyJ", "sk-", "SG.", "-----BEGIN PRIVATE KEY-----", "A" * 9]
NEAR_MISSES += ["\x1b[1m", "\x1b[1;", "%3Dghp_", "1;1;1;1;1;1;1;1;1mghp_", r"\nghp_"]


@pytest.mark.parametrize("piece", NEAR_MISSES)
def test_long_texts_that_nearly_match_are_read_in_time_that_grows_with_their_length_alone(piece):
    def took(size):
        text = f"token: {piece * (size // len(piece))}"
        return min(timeit.repeat(lambda: find(text, broad=True), time.thread_time, number=1, repeat=3))

    # Ten times the length: ten times the time. Reading it anew from each place would take a hundred times, each time.
    assert any(took(100_000) < 40 * took(10_000) for _ in range(5))


def stored(body=None, status=200):
    return Reply(status, body or {"reference": "secret:x", "label": "x", "version": 1})


def secret_filter(host, **more):
    return SecretFilter("u-17", url=host.url, token=TOKEN, **more)


@pytest.fixture(params=["async", "sync"])
def clean(request):
    """Both ways by one name."""
    if request.param == "sync":
        return lambda one, message, **more: one.clean_now(message, **more)
    return lambda one, message, **more: asyncio.run(one.clean(message, **more))


def test_a_secret_is_stored_before_the_text_is_handed_on(clean):
    secret = "ghp_" + some(36)
    with Scripted(stored()) as host:
        text = clean(secret_filter(host), f"My token is {secret}, use it.")
    [(command, path, headers, body)] = host.asked
    label = path.rsplit("/", 1)[1]
    assert (command, body) == ("PUT", {"secret": secret})
    assert path == f"/v1/users/u-17/secrets/{label}" and label.startswith("github-token-")
    assert text == f"My token is [secret:{label}], use it."


def test_a_user_s_id_may_be_an_address(clean):
    with Scripted(stored()) as host:
        one = SecretFilter("ann@example.com", labels={"github-token": "git:hub"}, url=host.url, token=TOKEN)
        assert clean(one, "ghp_" + some(36)) == "[secret:git:hub]"
    assert [path for _, path, _, _ in host.asked] == ["/v1/users/ann@example.com/secrets/git:hub"]


def test_the_same_secret_is_stored_once_and_has_one_name(clean):
    secret = "ghp_" + some(36)
    with Scripted(stored()) as host:
        one = secret_filter(host)
        first, second = clean(one, [f"{secret} and {secret}", f"again: {secret}"])
    assert len(host.asked) == 1
    [label] = {part.split("]")[0] for part in (first + second).split("[secret:")[1:]}
    assert first == f"[secret:{label}] and [secret:{label}]"


KEY = "ghp_" + some(36)


@pytest.mark.parametrize(
    "secret, user, elsewhere, same",
    [
        (KEY, "u-17", False, True),
        (KEY, "u-17", True, True),
        (KEY, "u-18", False, False),
        ("password: hunter22", "u-17", False, True),
        ("password: hunter22", "u-18", False, False),
        # Short enough to be found by trying: no digest that another process could make.
        ("password: hunter22", "u-17", True, False),
        ("sk_live_abcd1234", "u-17", True, False),
    ],
)
def test_a_secret_that_is_typed_again_has_its_label_again(clean, monkeypatch, secret, user, elsewhere, same):
    with Scripted(stored()) as host:
        first = clean(SecretFilter("u-17", url=host.url, token=TOKEN), secret)
        if elsewhere:
            monkeypatch.setattr("keybearer_autogen.secrets.filter._LABEL_KEY", random.randbytes(32))
        second = clean(SecretFilter(user, url=host.url, token=TOKEN), secret)
    assert len(host.asked) == 2, "each has it stored"
    assert (first == second) == same


@pytest.mark.parametrize("on_failure", ["raise", "remove"])
def test_what_the_host_will_not_keep_is_cut_out_and_holds_nothing_back(clean, on_failure, caplog):
    with Scripted(problem(400, "bad_request")) as host:
        one = secret_filter(host, on_failure=on_failure)
        text = clean(one, f"{KEY}, password: hunter22")
        assert text == "[secret removed, not stored: github-token], password: [secret removed, not stored: password]"
        assert len(host.asked) == 2
        assert clean(one, text) == redact(text) == text, "it's no secret itself"
    assert len(host.asked) == 2
    assert "isn't stored: The call failed (bad_request): told so." in caplog.text and KEY not in caplog.text


def test_a_kind_may_have_a_label_of_its_own(clean):
    with Scripted(stored()) as host:
        one = secret_filter(host, labels={"github-token": "github"})
        assert clean(one, "ghp_" + some(36)) == "[secret:github]"
        clean(one, "password: hunter22")
    assert host.asked[0][1] == "/v1/users/u-17/secrets/github"
    assert host.asked[1][1].startswith("/v1/users/u-17/secrets/password-"), "others take nobody's place"


def test_what_was_typed_last_is_what_is_kept(clean):
    first, second = "ghp_" + some(36), "ghp_" + some(36)
    with Scripted(stored()) as host:
        one = secret_filter(host, labels={"github-token": "github"})
        clean(one, [first, second, second, first])
    assert [body["secret"] for *_, body in host.asked] == [first, second, first]


@pytest.mark.parametrize(
    "reply",
    [problem(403, "denied"), problem(401, "unauthorized"), problem(500, "internal"), None, Reply(200, b"<p>", "text/html")],
    ids=["denied", "unauthorized", "internal", "hung up", "a page"],
)
def test_what_is_not_stored_is_not_handed_on(clean, reply, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "ghp_" + some(36)
    with Scripted(reply) as host:
        with pytest.raises(SecretNotStored, match="was not handed on") as told:
            clean(secret_filter(host), f"My token is {secret}")
        assert clean(secret_filter(host, on_failure="remove"), f"My token is {secret}") == (
            "My token is [secret removed: github-token]"
        )
    assert secret not in f"{told.value} {told.value!r} {told.value.__dict__} {told.value.__context__!r}"
    assert secret not in caplog.text


def test_a_host_that_is_down_keeps_the_message_back(clean):
    one = SecretFilter("u-17", url=f"http://127.0.0.1:{dead_port()}", token=TOKEN)
    with pytest.raises(SecretNotStored, match="host_unreachable"):
        clean(one, "password: hunter22")
    assert clean(one, "no secret here") == "no secret here"


def test_one_of_two_that_fails_keeps_all_of_it_back(clean):
    with Scripted(stored(), problem(500, "internal")) as host:
        with pytest.raises(SecretNotStored):
            clean(secret_filter(host), [f"ghp_{some(36)}", f"sk_live_{some(24)}"])
    assert len(host.asked) == 2


def test_what_can_not_be_stored_is_cut_out(clean):
    with Scripted(stored()) as host:
        assert clean(secret_filter(host), f"PIN: 4711\n{PEM}") == (
            "PIN: [secret removed: password]\n[secret removed: private-key]"
        )
    assert host.asked == []


def test_others_words_are_cut_out_and_not_stored(clean):
    known, other = "ghp_" + some(36), "ghp_" + some(36)
    with Scripted(stored()) as host:
        one = secret_filter(host, labels={"github-token": "github"})
        clean(one, known)
        assert clean(one, f"{known} {other}", store=False) == "[secret:github] [secret removed: github-token]"
    assert len(host.asked) == 1


def test_messages_of_autogen_are_cleaned_and_copied(clean):
    secret = "ghp_" + some(36)
    image = Image.from_base64(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    )
    called = FunctionCall(id="call_1", name="note", arguments=json.dumps({"text": secret}))
    messages = [
        TextMessage(content=f"text {secret}", source="user", metadata={"note": secret}),
        MultiModalMessage(content=[f"look {secret}", image], source="user"),
        HandoffMessage(
            content=secret,
            target="x",
            source="user",
            context=[UserMessage(content=secret, source="user"), AssistantMessage(content=[called], source="a")],
        ),
        ToolCallRequestEvent(content=[called], source="a"),
        {"role": "user", "content": f"v0.2 {secret}"},
    ]
    before = [message if isinstance(message, dict) else message.model_dump_json() for message in messages]
    with Scripted(stored()) as host:
        cleaned = clean(secret_filter(host), messages)
    shown = " ".join(str(one) if isinstance(one, dict) else one.model_dump_json() for one in cleaned)
    assert secret not in shown and shown.count("[secret:github-token-") == 8
    assert [type(one) for one in cleaned] == [type(one) for one in messages]
    assert cleaned[0].id == messages[0].id and cleaned[1].content[1] is image
    [again] = cleaned[3].content
    assert type(again) is FunctionCall and (again.id, again.name) == ("call_1", "note") and json.loads(again.arguments)
    assert before == [one if isinstance(one, dict) else one.model_dump_json() for one in messages], "not changed"


def test_neither_model_nor_memory_sees_what_the_user_typed():
    secret = "ghp_" + some(36)
    said = model("One.", "Two.")

    async def run():
        one = secret_filter(host)
        agent = AssistantAgent("helper", said, model_context=SecretFreeContext(one))
        # Without the filter before it, the context is what is left.
        await agent.run(task=f"My token is {secret}")
        result = await agent.run(task=await one.clean(f"Once more: {secret}"))
        return json.dumps(await agent.save_state()), result

    with Scripted(stored()) as host:
        state, result = asyncio.run(run())
    seen = repr([call["messages"] for call in said.create_calls])
    assert seen.count("[secret:github-token-") == 3, "the second time, the first message is there too"
    for what in (seen, state, result.model_dump_json()):
        assert secret not in what
    assert len(host.asked) == 1


def test_a_context_that_can_not_store_adds_nothing():
    secret = "ghp_" + some(36)
    said = model("One.")
    with Scripted(problem(500, "internal")) as host:
        agent = AssistantAgent("helper", said, model_context=SecretFreeContext(secret_filter(host)))
        with pytest.raises(SecretNotStored):
            asyncio.run(agent.run(task=f"My token is {secret}"))
    assert said.create_calls == [] and secret not in json.dumps(asyncio.run(agent.save_state()))


def test_a_context_stores_the_user_s_words_and_cuts_out_other_agents():
    mine, another = "ghp_" + some(36), "ghp_" + some(36)
    result = FunctionExecutionResult(content=f"token {another}", name="t", call_id="1")

    async def run():
        context = SecretFreeContext(secret_filter(host), BufferedChatCompletionContext(9))
        await context.add_message(UserMessage(content=mine, source="user"))
        await context.add_message(UserMessage(content=another, source="stranger"))
        await context.add_message(AssistantMessage(content="Fine.", source="helper"))
        await context.add_message(FunctionExecutionResultMessage(content=[result]))
        messages = await context.get_messages()
        state = await context.save_state()
        await context.clear()
        assert await context.get_messages() == []
        await context.load_state(state)
        assert await context.get_messages() == messages
        return messages

    with Scripted(stored()) as host:
        first, second, third, fourth = asyncio.run(run())
    assert first.content.startswith("[secret:github-token-") and second.content == "[secret removed: github-token]"
    assert third.content == "Fine." and fourth.content == [result]
    assert [body for *_, body in host.asked] == [{"secret": mine}]


def test_a_context_cuts_out_what_memory_and_a_loaded_state_bring():
    secret, said = "ghp_" + some(36), model("One.")
    called = FunctionExecutionResultMessage(content=[FunctionExecutionResult(content=secret, name="t", call_id="1")])

    async def run():
        remembered = ListMemory()
        await remembered.add(MemoryContent(content=f"Their token is {secret}", mime_type=MemoryMimeType.TEXT))
        context = SecretFreeContext(secret_filter(host))
        agent = AssistantAgent("helper", said, model_context=context, memory=[remembered])
        before = UnboundedChatCompletionContext()
        await before.add_message(SystemMessage(content=f"It is {secret}"))
        await before.add_message(UserMessage(content=[f"Mine is {secret}"], source="user"))
        await before.add_message(called)
        state = await before.save_state()
        unchanged = copy.deepcopy(state)
        await agent.load_state(AssistantAgentState(llm_context=state).model_dump())
        assert state == unchanged
        await agent.run(task="Hello.")
        return await context.get_messages()

    with Scripted(stored()) as host:
        messages = asyncio.run(run())
    assert [message.content for message in messages[:2]] == [
        "It is [secret removed: github-token]",
        ["Mine is [secret removed: github-token]"],
    ]
    assert messages[2] == called, "what tools answer has been looked at by the host"
    assert isinstance(messages[4], SystemMessage) and "[secret removed: github-token]" in messages[4].content
    assert repr(said.create_calls).count(secret) == repr(called).count(secret) and host.asked == []


def test_a_context_is_dumped_without_a_key_and_loads(monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("KEYBEARER_TOKEN", TOKEN)
    one = SecretFilter("u-17", labels={"github-token": "github"}, conversation="c-17")
    context = SecretFreeContext(one, sources=["user", "boss"])
    dumped = context.dump_component()
    assert TOKEN not in dumped.model_dump_json()
    again = ChatCompletionContext.load_component(dumped)
    assert isinstance(again, SecretFreeContext) and again.dump_component() == dumped
    with pytest.raises(ConfigurationError, match="a dump must not hold a token"):
        SecretFreeContext(SecretFilter("u-17", token=TOKEN)).dump_component()
    with pytest.raises(ConfigurationError, match="sources is a list"):
        SecretFreeContext(SecretFilter("u-17", token=TOKEN), sources="user")


def test_either_kind_of_token_may_store(clean):
    for token in (TOKEN, OPERATOR):
        with Scripted(stored()) as host:
            clean(SecretFilter("u-17", url=host.url, token=token), "password: hunter22")
        assert host.asked[0][2]["Authorization"] == f"Bearer {token}"


def test_a_lease_s_connection_is_all_it_takes(clean):
    given = {"url": None, "token": TOKEN, "ca_file": None, "insecure_http": False, "conversation": "c-17"}
    with Scripted(stored()) as host:
        assert clean(SecretFilter("u-17", **given | {"url": host.url}), KEY).startswith("[secret:github-token-")
    with pytest.raises(ConfigurationError, match="the conversation isn't valid"):
        SecretFilter("u-17", **given | {"conversation": "a b"})


def test_threads_share_a_filter(monkeypatch):
    """Each finds what it stored itself, whatever the others store meanwhile."""
    failed, digest = [], SecretFilter._digest

    def slow_digest(self, secret):
        time.sleep(0.002)
        return digest(self, secret)

    def type_in(number):
        for turn in range(10):
            secret = f"ghp_{number:02}{turn:02}{'a1B2c3D4' * 4}"
            try:
                first, second = one.clean_now(secret), one.clean_now(secret, store=False)
            except Exception as error:
                failed.append(repr(error))
            else:
                failed.extend([] if first == second else [f"{first} was forgotten"])

    monkeypatch.setattr(SecretFilter, "_digest", slow_digest)
    with Scripted(stored()) as host:
        one = secret_filter(host)
        threads = [threading.Thread(target=type_in, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


@pytest.mark.parametrize("user", ["", "a/b", "../x", "a b", "ü"])
def test_a_user_is_an_id(user):
    with pytest.raises(ConfigurationError, match="the user isn't valid"):
        SecretFilter(user, token=TOKEN)
    with pytest.raises(ConfigurationError, match="the label isn't valid"):
        SecretFilter("u", labels={"password": user}, token=TOKEN)


@pytest.mark.parametrize("kind, secret, around", SECRETS)
def test_logs_are_redacted(kind, secret, around):
    text = redact(around.format(secret))
    assert secret not in text and "[REDACTED]" in text


def test_logs_are_redacted_broadly():
    assert redact("Authorization: Bearer abcdefgh") == "Authorization: Bearer [REDACTED]"
    assert redact("sent sk-proj-abcdefgh1234567890 off") == "sent [REDACTED] off"
    assert redact("password: hunter2") == "password: [REDACTED]"
    for text in INNOCENT:
        assert redact(text) == text or "bearer" in text


def test_a_handler_writes_nothing_of_it():
    secret, stream = "sk_live_" + some(24), io.StringIO()
    logger = logging.getLogger("test_package_secrets")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    logger.addHandler(handler)
    try:
        redact_logs(logger)
        redact_logs(logger)
        logger.error("key %s", secret)
        try:
            raise RuntimeError(f"no: {secret}")
        except RuntimeError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    written = stream.getvalue()
    assert secret not in written and written.count("[REDACTED]") == 2
    assert "test_package_secrets key [REDACTED]" in written and "RuntimeError" in written
    assert isinstance(handler.formatter, RedactingFormatter)


@pytest.fixture
def logger():
    """A logger of this test's own."""
    one = logging.Logger("test_package_secrets.handing_on")
    yield one
    for handler in one.handlers:
        handler.close()


def leave(logger, secret):
    """Everything that a record may hold a secret in."""
    logger.error("key %s", secret, extra={"given": f"key {secret}"})
    logger.error("key %d", f"token {secret}", stack_info=True)
    try:
        raise RuntimeError(f"no: {secret}")
    except RuntimeError:
        logger.exception("failed: %(key)s", {"key": secret})


def test_a_handler_that_hands_records_on_hands_on_nothing_of_it(logger):
    secret, queued, handed = "sk_live_" + some(24), queue.Queue(), []

    class Collector(logging.Handler):
        """As collectors of logs and errors do, it looks at the record and formats nothing."""

        def emit(self, record):
            handed.append(f"{vars(record)!r} {record.getMessage()}")

    with socket.create_server(("127.0.0.1", 0)) as server:
        for handler in (
            logging.handlers.QueueHandler(queued),
            logging.handlers.SocketHandler(*server.getsockname()),
            logging.handlers.MemoryHandler(100, target=Collector()),
            Collector(),
        ):
            logger.addHandler(handler)
        redact_logs(logger)
        redact_logs(logger)
        leave(logger, secret)
        logger.handlers[2].flush()
        connection, _ = server.accept()
        logger.handlers[1].close()
        with connection, connection.makefile("rb") as sent:
            shipped = []
            while size := sent.read(4):
                shipped.append(repr(pickle.loads(sent.read(int.from_bytes(size, "big")))))
    left = [repr(vars(queued.get())) for _ in range(3)]
    for records in (left, shipped, handed):
        assert len(records) in (3, 6)
        for record in records:
            assert secret not in record and "[REDACTED]" in record
        assert sum("RuntimeError" in record for record in records) == len(records) // 3
    assert [len(handler.filters) for handler in logger.handlers] == [1, 1, 1, 1]


def test_a_record_without_secrets_is_left_as_it_is(logger):
    seen = []

    class Collector(logging.Handler):
        def emit(self, record):
            seen.append(record)

    logger.addHandler(Collector())
    redact_logs(logger)
    try:
        raise RuntimeError("no")
    except RuntimeError:
        logger.exception("failed: %s", "it", extra={"given": "this"})
    [record] = seen
    assert (record.msg, record.args, record.given) == ("failed: %s", ("it",), "this")
    assert record.exc_info is not None and record.exc_text is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a filter can't put a copy in a record's place")
def test_other_handlers_get_the_record_as_it_was(logger):
    secret, seen = "sk_live_" + some(24), []

    class Collector(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    logger.addHandler(Collector())
    redact_logs(logger)
    logger.addHandler(Collector())
    logger.error("key %s", secret)
    assert seen == ["key [REDACTED]", f"key {secret}"]


def test_a_logger_without_handlers_is_told_of(logger):
    with pytest.raises(ConfigurationError, match="'test_package_secrets.handing_on' has no handlers"):
        redact_logs(logger)
