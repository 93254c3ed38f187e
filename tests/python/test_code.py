"""End to end with the real CPython component: agents' code at `POST /v1/code`, over a (fake) Stripe behind TLS."""

import base64
import json
import subprocess
import threading
import time

import httpx
import pytest

from surroundings import KEYBEARER, PLAIN, SANDBOX, charges, clean_environment, new_customer, share_compiled

LONG = 60


def ask(host, *blocks, token=None, timeout_ms=30_000, patience=LONG, **headers):
    """Posts blocks of Python."""
    body = {"blocks": [{"language": "python", "code": code} for code in blocks], "timeout_ms": timeout_ms}
    headers = {"Authorization": f"Bearer {token or host.token}", **headers}
    with httpx.Client(**PLAIN, timeout=patience) as client:
        return client.post(f"{host.url}/v1/code", json=body, headers=headers)


def run(host, *blocks, **more):
    """What came of them."""
    reply = ask(host, *blocks, **more)
    assert reply.status_code == 200, reply.text
    return reply.json()


def rows(host, call):
    return host.as_operator("GET", f"/v1/audit/{call}").json()["rows"]


def until(condition):
    """Waits for something that has to come."""
    end = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < end, "it didn't come"
        time.sleep(0.02)
    return found


def newest(host, event):
    """The newest row of this event, and the call that it's of."""
    return next((row for row in host.as_operator("GET", "/v1/audit").json()["rows"] if row["event"] == event), None)


def charging(customer, amount=1000):
    form = {"amount": amount, "currency": "usd", "customer": customer}
    return f"import keybearer\nprint(keybearer.http('stripe').post('/v1/charges', form={form}).json()['id'])\n"


def in_background(action):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(action()), daemon=True)
    thread.start()

    def join():
        thread.join(LONG)
        return answers[0]

    return join


def test_code_runs_as_a_program_does(code_host):
    went = run(code_host, "print('hi')\n1 + 1")
    assert (went["exit_code"], went["output"], went["result"]) == (0, "hi\n", "2")
    failed = run(code_host, "x = 1\nraise ValueError('no')")
    assert failed["exit_code"] == 1 and "line 2" in failed["output"] and "ValueError: no" in failed["output"]
    assert run(code_host, "import sys\nsys.exit(7)")["exit_code"] == 7
    # Each block begins from nothing.
    apart = run(code_host, "x = 41", "print('x' in globals())")
    assert apart["output"] == "False\n" and len(apart["calls"]) == 2


def test_no_execution_repeats_another_s_random_values(code_host):
    """The interpreter's image is made once, so whatever is seeded in it would be the same for all."""
    code = """
import os, random, secrets, sqlite3, tempfile, uuid
print(random.random(), random.randbytes(8).hex(), uuid.uuid4(), secrets.token_hex(8), os.urandom(8).hex(),
      next(tempfile._get_candidate_names()))
print(*sqlite3.connect(":memory:").execute("select random(), hex(randomblob(8))").fetchone())
"""
    one, other = (run(code_host, code)["output"].split() for _ in range(2))
    assert len(one) == 8 and not set(one) & set(other), (one, other)


def test_there_is_nothing_of_the_host_to_be_found(code_host):
    code = """
import os
print(dict(os.environ))
def attempt(what):
    try:
        return repr(what())
    except BaseException as error:
        return type(error).__name__
for what in (
    lambda: open("/etc/passwd").read(),
    lambda: open("/proc/self/environ").read(),
    lambda: os.listdir("/"),
    lambda: __import__("socket").create_connection(("127.0.0.1", 80), 1),
    lambda: __import__("subprocess").run(["printenv"], capture_output=True).stdout,
    lambda: os.system("printenv"),
):
    print("->", attempt(what))
"""
    went = run(code_host, code)
    lines = went["output"].splitlines()
    assert lines[0] == "{}", went
    for line in lines[1:]:
        assert not line.startswith(("-> '", "-> b'", "-> 0", "-> [", "-> <socket")), line
    for secret in (code_host.token, code_host.operator_token, str(code_host.home)):
        assert secret not in went["output"]


def test_a_call_with_the_credential_under_policy(code_host, stripe, upstream, key):
    before = code_host.front.transcript.read_bytes().count(key.encode())
    invoice = stripe.facts["invoice"]
    went = run(code_host, f"import keybearer\nkeybearer.http('stripe').get('/v1/invoices/{invoice}').json()['id']")
    assert json.loads(went["result"]) == invoice
    assert code_host.front.transcript.read_bytes().count(key.encode()) == before + 1
    trail = rows(code_host, went["calls"][0])
    assert [row["event"] for row in trail] == ["call_begun", "send_begun", "send_finished", "call_finished"]
    assert (trail[0]["door"], trail[0]["tool"]) == ("code", "run_python")

    customer = new_customer(upstream)
    made = run(code_host, charging(customer, 5000))
    assert list(charges(upstream, {customer})) == [made["output"].strip()]
    # More than the policy allows to code: an exception that can be read.
    refused = run(code_host, charging(customer, 5001))
    assert refused["exit_code"] == 1
    assert "stripe:create_charge was refused by policy" in refused["output"], refused["output"]
    assert "tests-code-charges-little" not in refused["output"], "no rule is named"
    # A connection that nobody consented to, and what is no operation.
    for code in ("keybearer.http('github').get('/user')", "keybearer.http('stripe').get('/v1/balance')"):
        assert run(code_host, f"import keybearer\n{code}")["exit_code"] == 1
    assert len(charges(upstream, {customer})) == 1


def test_a_budget_holds_for_code(code_host, upstream):
    budget = {"limit": 1200, "unit": "usd", "window": "total"}
    token = code_host.mint(tools=["run_python"], operations=["stripe:*"], budgets=[budget])["token"]
    customer = new_customer(upstream)
    assert run(code_host, charging(customer, 1000), token=token)["exit_code"] == 0
    over = run(code_host, charging(customer, 300), token=token)
    assert over["exit_code"] == 1 and "budget" in over["output"], over["output"]
    assert len(charges(upstream, {customer})) == 1


def test_who_may_not_run_code_is_not_offered_it(code_host):
    token = code_host.mint(tools=["get_invoice"], operations=["stripe:*"])["token"]
    headers = {"Authorization": f"Bearer {token}"}
    listed = httpx.get(f"{code_host.url}/v1/tools", headers=headers, **PLAIN).json()["tools"]
    assert [tool["name"] for tool in listed] == ["get_invoice"]
    refused = ask(code_host, "print(1)", token=token)
    assert refused.status_code == 404 and refused.json()["code"] == "unknown_tool"


def test_the_key_and_the_code_are_nowhere(code_host, stripe, key):
    marker = "marker_6f1d0e"
    invoice = stripe.facts["invoice"]
    code = f"""
import keybearer, gc, sys
{marker} = keybearer.http('stripe').get('/v1/invoices/{invoice}', params={{'expand[0]': 'customer'}})
print({marker}.headers, {marker}.text)
print([repr(thing)[:2000] for thing in gc.get_objects() if isinstance(thing, dict)][:200])
"""
    outputs = [run(code_host, code)["output"], run(code_host, charging("cus_nobody"))["output"]]
    raw = key.encode()
    forms = [raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw)[:-4]]
    places = {"output": "".join(outputs).encode(), "log": code_host.log().encode()}
    places |= {str(path): path.read_bytes() for path in code_host.files()}
    for name, content in places.items():
        assert not any(form in content for form in forms), name
        assert name == "output" or marker.encode() not in content, f"code is kept in {name}"


def test_time_and_memory_end(code_host):
    late = run(code_host, "print('once')", "while True:\n  try: pass\n  except BaseException: pass", timeout_ms=3000)
    assert late["exit_code"] == 124
    assert late["output"].startswith("once\n") and late["output"].endswith("Timeout")
    assert run(code_host, "import time\ntime.sleep(600)", timeout_ms=2000)["exit_code"] == 124
    for bomb in ("x = bytearray(10**10)", "x = []\nwhile True: x.append('x' * 10**6)"):
        assert run(code_host, bomb)["exit_code"] in (1, 137)
    deep = run(code_host, "def f(): return f()\nf()")
    assert deep["exit_code"] in (1, 134), deep


def test_of_a_long_output_the_end_is_kept(code_host):
    rows = "for i in range(40000): print('row', i, 'xxxxxxxx')"
    reason = "ValueError: the reason the program failed\n"
    failing = "raise ValueError('the reason the program failed')"
    # In one block, and in one after a block that wrote as much.
    for blocks in ([f"{rows}\n{failing}"], [rows, failing]):
        went = run(code_host, *blocks)
        assert went["exit_code"] == 1
        assert went["output"].startswith("row 0 xxxxxxxx\nrow 1 "), went["output"][:100]
        assert went["output"].endswith(reason), went["output"][-200:]
        assert went["output"].count("out here") == 1 and len(went["output"]) < 257 << 10
    # The sandbox's sentence stands, which says how much it was.
    went = run(code_host, "print('ab' + '\N{GRINNING FACE}' * 100000, end='')")
    assert "bytes of output were cut out here" in went["output"] and "left out" not in went["output"]


def test_hanging_up_stops_a_side_effect_that_is_pending(code_host, upstream):
    customer = new_customer(upstream)
    code = f"import time\ntime.sleep(20)\n{charging(customer)}"
    with pytest.raises(httpx.ReadTimeout):
        ask(code_host, code, patience=2)
    until(lambda: newest(code_host, "call_finished")["mark"] == "cancelled")
    assert charges(upstream, {customer}) == {}
    # The same code does charge when nobody hangs up.
    assert run(code_host, charging(customer))["exit_code"] == 0
    assert len(charges(upstream, {customer})) == 1


def test_a_kill_switch_and_a_revocation_stop_it_too(code_host, upstream):
    customer = new_customer(upstream)
    minted = code_host.mint(tools=["run_python"], operations=["stripe:*"], agent="stopped")

    def after(seconds):
        return f"import time\ntime.sleep({seconds})\n{charging(customer)}"

    def is_running():
        begun = newest(code_host, "call_begun")
        return begun["agent"] == "stopped" and len(rows(code_host, begun["call"])) == 1

    answer = in_background(lambda: ask(code_host, after(60), token=minted["token"]))
    until(is_running)
    switch = code_host.as_operator("POST", "/v1/kill", json={"scope": "agent:stopped", "reason": "a test"}).json()
    killed = answer()
    assert killed.status_code == 403 and killed.json()["code"] == "killed"
    code_host.as_operator("DELETE", f"/v1/kill/{switch['id']}")

    answer = in_background(lambda: ask(code_host, after(4), token=minted["token"]))
    until(is_running)
    assert code_host.as_operator("DELETE", f"/v1/tokens/{minted['id']}").status_code == 204
    revoked = answer().json()
    assert revoked["exit_code"] == 1 and "revoked" in revoked["output"], revoked
    assert charges(upstream, {customer}) == {}


def test_sixteen_endless_loops_stop_nobody_else(code_host, stripe):
    minted = code_host.mint(tools=["run_python"], agent="looping")

    def in_flight():
        text = httpx.get(f"{code_host.url}/metrics", **PLAIN, timeout=LONG).text
        return int(next(line for line in text.splitlines() if line.startswith("keybearer_calls_in_flight ")).split()[1])

    loop = "while True: pass"
    loops = [in_background(lambda: ask(code_host, loop, token=minted["token"], timeout_ms=50_000)) for _ in range(16)]
    until(lambda: in_flight() == 16)
    assert httpx.get(f"{code_host.url}/healthz", **PLAIN, timeout=LONG).status_code == 200
    headers = {"Authorization": f"Bearer {code_host.token}", "Keybearer-Deadline-Ms": "30000"}
    invoice = {"id": stripe.facts["invoice"]}
    with httpx.Client(**PLAIN, timeout=LONG) as client:
        called = client.post(f"{code_host.url}/v1/tools/get_invoice", json=invoice, headers=headers)
    assert called.status_code == 200 and called.json()["id"] == invoice["id"]
    busy = ask(code_host, "print(1)")
    assert busy.status_code == 503 and busy.json()["code"] == "busy"
    assert in_flight() == 16, "all of that happened while they ran"
    switch = code_host.as_operator("POST", "/v1/kill", json={"scope": "agent:looping", "reason": "a test"}).json()
    assert {answer().json()["code"] for answer in loops} == {"killed"}
    code_host.as_operator("DELETE", f"/v1/kill/{switch['id']}")
    assert run(code_host, "print(1)")["output"] == "1\n"


def test_an_operator_adds_a_sandbox_knowingly(tmp_path):
    def kb(*arguments, fails=False):
        command = [KEYBEARER, "--home", tmp_path, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), stdin=subprocess.DEVNULL)
        assert (done.returncode != 0) == fails, done
        return done.stdout + done.stderr

    kb("init")
    share_compiled(tmp_path)
    assert "sandbox add" in kb("tool", "add", "--yes", SANDBOX, fails=True)
    assert "no connection stripe" in kb("sandbox", "add", "--yes", "--connection", "stripe", SANDBOX, fails=True)
    asked = kb("sandbox", "add", SANDBOX, fails=True)
    assert "will run Python of their own" in asked and "not added" in asked
    other = f"sha256:{'0' * 64}"
    assert "nothing was added" in kb("sandbox", "add", "--yes", "--digest", other, SANDBOX, fails=True)
    assert "run_code" in kb("sandbox", "add", "--yes", SANDBOX)
    assert "none" in kb("sandbox", "list") and "sandbox" in kb("tool", "list")
    assert "code that agents write may use no connection" in kb("doctor")
    assert "sandbox.add" in kb("audit", "list")
    assert "no sandbox" in kb("sandbox", "remove", "other", fails=True)
    kb("sandbox", "remove", "python")
    assert "python" not in kb("sandbox", "list")
