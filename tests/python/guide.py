"""Guides, done: a reader's shell, homes that are set up by the guides' own commands, and hosts that serve them."""

import os
import re
import subprocess
import sys
import time

import httpx

from surroundings import COMPONENTS, KEYBEARER, PATIENCE_S, PLAIN, ROOT, Program, clean_environment, turned_to

GUIDE = ROOT / "docs/GOVERNANCE.md"
EXAMPLES = ROOT / "examples/governance"


def text_of(section, guide=GUIDE):
    found = re.search(rf"(?ms)^## {re.escape(section)}$(.*?)(?=^## |\Z)", guide.read_text())
    assert found, f"{guide.name} has no section {section!r}"
    return found[1]


def blocks(section, language, guide=GUIDE):
    """The blocks of this language in a section."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text_of(section, guide))


def commands(section, guide=GUIDE):
    """What a reader types in a section, command by command. Lines that end in a backslash go on."""
    lines = "".join(blocks(section, "sh", guide)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class Reader:
    """Whoever follows a guide, at the top of the repository, with an empty home folder."""

    def __init__(self, folder):
        self.home, bin_folder = folder / ".keybearer", folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "keybearer").symlink_to(KEYBEARER)
        # A link would be taken for a Python without the packages of its virtual environment.
        (bin_folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (bin_folder / "python").chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        self.env = {**clean_environment(), "HOME": str(folder), "PATH": path, "NO_COLOR": "1"}

    def sh(self, command, **env):
        """Runs what one would type: what it prints."""
        shell, env = ["bash", "-c", command], {**self.env, **env}
        done = subprocess.run(shell, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def serve(self):
        """`keybearer serve` in a terminal of its own, on a free port: the program, and where it listens."""
        program = Program([KEYBEARER, "--home", self.home, "serve", "--listen", "127.0.0.1:0"], env=self.env)
        return program, program.heard_in_errors(r"listening on (http://\S+)")


class Guided(Reader):
    """A home, set up as docs/GOVERNANCE.md says for a situation, and its host."""

    def __init__(self, section, front, folder, key):
        super().__init__(folder)
        self.section, key_file = section, folder / "key"
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
        # Its day begins where it's noon now: none ends while a test counts.
        budgets, noon = self.home / "budgets.toml", f"Etc/GMT{time.gmtime().tm_hour - 12:+d}"
        budgets.write_text(re.sub(r"(?m)^time_zone = .*$", f'time_zone = "{noon}"', budgets.read_text()))
        self.program, self.url = self.serve()

    def typed(self, *starts):
        """The commands of this situation that begin so."""
        return [command for command in commands(self.section) if command.startswith(starts)]

    def shown(self, *starts):
        """The commands of this situation that it shows after a `$`, and that begin so."""
        lines = re.findall(r"(?m)^\$ (.*)$", text_of(self.section))
        return [line for line in lines if line.startswith(starts)]

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
        with httpx.Client(**PLAIN) as client:
            return client.request(method, self.url + path, headers={"Authorization": f"Bearer {token}"}, **more)

    def stop(self):
        self.program.interrupt()


def seen(lines, who="agent"):
    """What a model saw, among the lines of a script."""
    return [line.split("sees", 1)[1].strip() for line in lines if line.startswith(f"{who} sees")]
