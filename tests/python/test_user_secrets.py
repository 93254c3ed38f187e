"""A user's own key: stored through the host, used for that user alone, and nowhere to be found."""

import re
import secrets

import httpx
import pytest
from test_autogen import forms

from surroundings import PLAIN, Host, TlsFront


class UsersOwn(Host):
    """A host whose connection uses its caller's own secret. An operator's of the same label is there as well."""

    def connection(self):
        return re.sub(r"(?m)^(secret\b.*)$", r'\1\nsecret_of = "user"', super().connection())

    def ask(self, method, path, token, **more):
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(**PLAIN) as client:
            return client.request(method, self.url + path, headers=headers, **more)


@pytest.fixture
def host(stripe, key, tmp_path):
    front = TlsFront(stripe.address, tmp_path)
    running = UsersOwn(front, tmp_path, key)
    yield running
    running.stop()
    front.stop()


def test_a_user_s_key_is_used_for_that_user_alone_and_is_nowhere_to_be_found(host, stripe, key):
    own = f"sk_test_{secrets.token_hex(16)}"
    rights = {"tools": ["get_invoice"], "operations": ["stripe:*"]}
    ann, bob = (host.mint(user=user, **rights)["token"] for user in ("ann", "bob"))
    nobody = host.mint(**rights)["token"]
    storing = host.mint(user="ann", may_store_secrets=True)["token"]
    path = "/v1/users/ann/secrets/stripe-test"
    told = [host.ask("PUT", path, storing, json={"secret": own})]
    assert told[0].json() == {"reference": "secret:stripe-test", "label": "stripe-test", "version": 1}

    def invoice(token):
        told.append(host.ask("POST", "/v1/tools/get_invoice", token, json={"id": stripe.facts["invoice"]}))
        return told[-1].json()

    assert invoice(ann)["id"] == stripe.facts["invoice"]
    sent = host.front.transcript.read_bytes()
    assert own.encode() in sent and key.encode() not in sent
    assert invoice(bob)["code"] == "no_secret"
    assert invoice(nobody)["code"] == "denied"
    # Who uses it can't change it, and who stores it can't read it.
    told.append(host.ask("PUT", path, ann, json={"secret": "another-one"}))
    assert told[-1].json()["code"] == "denied"
    told.append(host.ask("GET", "/v1/users/ann/secrets", storing))
    assert [secret["version"] for secret in told[-1].json()["secrets"]] == [1]
    told.append(host.ask("PUT", path, storing, json={"sekret": own}))
    told.append(host.ask("PUT", path, storing, content=f'{{"secret": {own}}}'))
    assert [reply.status_code for reply in told[-2:]] == [400, 400]
    told.append(host.ask("DELETE", path, storing))
    assert invoice(ann)["code"] == "no_secret"
    told.append(host.as_operator("GET", "/v1/audit?limit=1000"))
    assert sent == host.front.transcript.read_bytes(), "nothing but the one request was sent"

    places = {
        "answers": b"".join(reply.content + str(reply.headers).encode() for reply in told),
        "host log": host.log().encode(),
        **{str(file): file.read_bytes() for file in host.files()},
    }
    assert any(place.endswith("control.db") for place in places)
    for name, content in places.items():
        for form in forms(own):
            assert form not in content, name
