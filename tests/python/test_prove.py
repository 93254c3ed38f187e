"""`policy prove`, with the real solver: what is claimed of all requests there could be holds, or one is named that refutes
it."""

import json
import subprocess
import sys

import pytest

from surroundings import KEYBEARER, ROOT, clean_environment

POLICIES = """
@id("billing-charges")
permit (principal in Role::"default/billing", action == Action::"stripe:create_charge", resource)
when { context.body.amount <= 50000 };

@id("analytics-reads")
permit (principal in Role::"default/analytics", action in Action::"read", resource);

@id("no-refunds")
forbid (principal, action == Action::"stripe:create_refund", resource);

@id("code-for-ann")
permit (principal in Role::"default/analytics", action == Action::"run_code", resource)
when { context has user && context.user == "ann" };
"""


@pytest.fixture
def prove(tmp_path):
    """Runs the command over these policies and the example's connection, with this solver: its exit code and words."""
    policies, connections = tmp_path / "policies", tmp_path / "connections"
    policies.mkdir()
    connections.mkdir()
    (policies / "all.cedar").write_text(POLICIES)
    (connections / "stripe.toml").write_text((ROOT / "examples/connections/stripe.toml").read_text())
    solver = tmp_path / "cvc5"
    solver.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/solver/cvc5" "$@"\n')
    solver.chmod(0o700)

    def run(role, operation, solver=solver):
        command = [KEYBEARER, "policy", "prove", "--never", "--role", role, "--operation", operation]
        command += ["--policies", policies, "--connections", connections, "--json"]
        env = {**clean_environment(), "CVC5": str(solver)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    "role, operation",
    [
        ("analytics", "stripe:create_charge"),
        ("analytics", "stripe:create_refund"),
        ("billing", "stripe:create_refund"),
        ("billing", "run_code"),
    ],
)
def test_what_holds_for_all_requests_is_proved(prove, role, operation):
    code, said = prove(role, operation)
    assert code == 0, said


@pytest.mark.parametrize(
    "role, operation",
    [("billing", "stripe:create_charge"), ("analytics", "stripe:get_charge"), ("analytics", "run_code")],
)
def test_a_claim_that_does_not_hold_is_refuted_by_a_request(prove, role, operation):
    code, said = prove(role, operation)
    assert code == 3, said
    assert operation in json.dumps(said) and "principal" in said


def test_without_a_solver_nothing_is_claimed(prove, tmp_path):
    code, said = prove("analytics", "stripe:create_charge", tmp_path / "none")
    assert code not in (0, 3), said
    assert "no solver is installed, so nothing was proved" in said
