"""docs/GOVERNANCE.md, done: a home that is set up by the guide's own commands, and a host that serves it."""

import os
import re
import subprocess
import sys

import httpx

from surroundings import COMPONENTS, KEYBEARER, ROOT, Program, clean_environment, turned_to

GUIDE = ROOT / "docs/GOVERNANCE.md"
EXAMPLES = ROOT / "examples/governance"


def commands(section):
    """What a reader types in a section, command by command. Lines that end in a backslash go on."""
    text = GUIDE.read_text()
    found = re.search(rf"(?ms)^## {re.escape(section)}$(.*?)(?=^## |\Z)", text)
    assert found, f"the guide has no section {section!r}"
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", found[1])
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class Guided:
    """A home, set up as the guide says for a situation, and its host."""

    def __init__(self, section, front, folder, key):
        self.section, self.home = section, folder / ".keybearer"
        bin_folder, key_file = folder / "bin", folder / "key"
        bin_folder.mkdir()
        (bin_folder / "keybearer").symlink_to(KEYBEARER)
        (bin_folder / "python").symlink_to(sys.executable)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        self.env = {**clean_environment(), "HOME": str(folder), "PATH": path, "NO_COLOR": "1"}
        key_file.write_text(key)
        # A test has no terminal to type a key or a yes at, and its components are built already.
        component = COMPONENTS / "tools/stripe.wasm"
        instead = {
            "keybearer vault set stripe-key": f"keybearer vault set stripe-key < {key_file}",
            "keybearer tool build tools/stripe": "true",
            "keybearer tool add target/keybearer/stripe.wasm": f"keybearer tool add --yes {component}",
        }
        for command in commands("Set up a host") + self.typed("cp", "rm", "keybearer policy", "keybearer budget check"):
            self.sh(instead.pop(command, command))
        assert not instead, f"the guide doesn't say {list(instead)}"
        key_file.unlink()
        connection = self.home / "connections/stripe.toml"
        connection.write_text(turned_to(front, connection.read_text()))
        self.program = Program([KEYBEARER, "--home", self.home, "serve", "--listen", "127.0.0.1:0"], env=self.env)
        self.url = self.program.heard_in_errors(r"listening on (http://\S+)")

    def typed(self, *starts):
        """The commands of this situation that begin so."""
        return [command for command in commands(self.section) if command.startswith(starts)]

    def sh(self, command):
        """Runs what one would type: what it prints."""
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def mint(self, *words):
        """The token and its id that the guide's `token mint` with these words gives."""
        [command] = [line for line in self.typed("keybearer token mint") if all(word in line for word in words)]
        printed = self.sh(command)
        return re.search(r"kb[to]_[\w-]+", printed)[0], re.search(r"tok_\w+", printed)[0]

    def script(self, script, *arguments, **env):
        """A script of the examples: a program that is under way."""
        env = {**self.env, "KEYBEARER_URL": self.url, **env}
        return Program([sys.executable, EXAMPLES / script, *arguments], env=env)

    def ask(self, token, *calls):
        """What an agent's model sees of these calls."""
        program = self.script("agent.py", *calls, KEYBEARER_TOKEN=token)
        return seen(program.rest())

    def request(self, method, path, token, **more):
        with httpx.Client(trust_env=False) as client:
            return client.request(method, self.url + path, headers={"Authorization": f"Bearer {token}"}, **more)

    def stop(self):
        self.program.interrupt()


def seen(lines, who="agent"):
    """What a model saw, among the lines of a script."""
    return [line.split("sees", 1)[1].strip() for line in lines if line.startswith(f"{who} sees")]
