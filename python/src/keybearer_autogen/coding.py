"""The rules of running code blocks, which the executors of all frameworks share. Nothing here runs or sends anything.

They are those of AutoGen's LocalCommandLineCodeExecutor, as far as it makes sense in a sandbox without files: the
blocks run in order until one doesn't exit with 0, each within the timeout; 124 and `Timeout`, 125 and `Cancelled`; a
first line `# filename: NAME` names the file that the code is kept in, inside the working directory or not at all.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import KeybearerError

log = logging.getLogger("keybearer_autogen")

TIMEOUT = 124
"""The code ran into its timeout."""
CANCELLED = 125
"""The code was cancelled."""
NOT_RUN = 126
"""The code wasn't run: the host refused, or couldn't be reached."""

_PYTHON = ("python", "py")
_NOT_IN_WORKSPACE = "Filename is not in the workspace"


@dataclass
class Outcome:
    """How a list of blocks ended.

    Attributes:
        exit_code: Of the last block that ran.
        output: Of all of them, standard output and error in order.
        code_file: The file of the first block, if a working directory was given.
        result: The value of the last expression, as the sandbox gave it.
        calls: The ids, in the host's audit trail, of the runs.
        approval: What the code waits for, if a person has to agree to it first.
    """

    exit_code: int = 0
    output: str = ""
    code_file: str | None = None
    result: str | None = None
    calls: list[str] = field(default_factory=list)
    approval: str | None = None


class Workspace:
    """The folder that code is kept in, for people to read: the sandbox sees nothing of it.

    It never overwrites or removes a file that it didn't write itself.

    Args:
        folder: The folder; made if it's missing. Without one, nothing is kept.
        clean_up: Whether the files are removed after the run.
    """

    def __init__(self, folder: str | Path | None, *, clean_up: bool) -> None:
        self.folder = None if folder is None else Path(folder)
        self.clean_up = clean_up
        self._written = set[Path]()
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)

    def keep(self, code: str) -> Path | None:
        """Writes the code into its file, if there's a folder.

        Raises:
            ValueError: The name that the code gives leads out of the folder, or to a file that's in the way. The text
                is for the model.
        """
        name, content = _named(code), _bytes(code)
        relative = PurePosixPath(name or f"tmp_code_{sha256(content).hexdigest()}.py")
        hidden = any(part.startswith(".") for part in relative.parts)
        if relative.is_absolute() or hidden or "\\" in str(relative) or "\0" in str(relative):
            raise ValueError(_NOT_IN_WORKSPACE)
        if self.folder is None:
            return None
        inside = self.folder.resolve()
        # A link that leads out of the folder is followed by this, and refused.
        path = (inside / relative).resolve()
        if not path.is_relative_to(inside) or path == inside:
            raise ValueError(_NOT_IN_WORKSPACE)
        if path.suffix != ".py":
            raise ValueError(f"The file {relative} can't be written: give it a name that ends in .py")
        try:
            if path.exists() and path not in self._written:
                # The same program of another executor, or of a process before this one, is where it would be.
                if name is None and path.read_bytes() == content:
                    return path
                raise ValueError(f"The file {relative} is there already: give the code another file name")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            log.warning("the file %s can't be written: %s", path, error)
            raise ValueError(f"The file {relative} can't be written") from None
        self._written.add(path)
        return path

    def remove(self, path: Path) -> None:
        """Removes a file, if it's of this one's own."""
        if path not in self._written:
            return
        self._written.discard(path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the file %s can't be removed: %s", path, error)


class Run:
    """The blocks of one message, one after the other. The caller sends them::

        for block in blocks:
            if not run.begins(block.language, block.code):
                break
            try:
                run.ended(answer_of(block))
            except KeybearerError as error:
                run.failed(error)
        return run.outcome()

    Args:
        workspace: Where the code is kept.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._outcome = Outcome()
        self._files: list[Path] = []
        self._over = False

    def begins(self, language: str, code: str) -> bool:
        """Whether the next block is to be run."""
        if self._over:
            return False
        # What isn't Python isn't run; the host says so, in its own words.
        if language.lower() not in _PYTHON:
            return True
        try:
            path = self._workspace.keep(code)
        except ValueError as error:
            self._end(1, str(error))
            return False
        if path is not None:
            self._files.append(path)
        return True

    def ended(self, answer: dict[str, Any]) -> None:
        """The block's answer by the host."""
        exit_code, output = answer.get("exit_code"), answer.get("output")
        if type(exit_code) is not int or not isinstance(output, str):
            self._end(NOT_RUN, "The host answered in another form than this package knows: update one of the two.")
            return
        self._outcome.exit_code = exit_code
        self._outcome.output += output
        result = answer.get("result")
        self._outcome.result = result if isinstance(result, str) else None
        self._outcome.calls += [call for call in answer.get("calls") or () if isinstance(call, str)]
        self._over = exit_code != 0

    def failed(self, error: KeybearerError) -> None:
        """There is no answer of the block."""
        log.warning("code wasn't run to its end: %s", error)
        if error.call is not None:
            self._outcome.calls.append(error.call)
        self._outcome.approval = error.approval
        if error.code in ("host_timeout", "deadline_exceeded"):
            self._end(TIMEOUT, "Timeout")
        else:
            self._end(NOT_RUN, error.detail)

    def cancelled(self) -> None:
        """The caller doesn't want it any more."""
        self._end(CANCELLED, "Cancelled")

    def outcome(self) -> Outcome:
        """How it ended; files are cleaned up, if they're to be."""
        self._outcome.code_file = str(self._files[0]) if self._files else None
        if self._workspace.clean_up:
            for path in self._files:
                self._workspace.remove(path)
        return self._outcome

    def _end(self, exit_code: int, line: str) -> None:
        """The end, with a line of its own."""
        before = self._outcome.output
        self._outcome.output = f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{line}"
        self._outcome.exit_code = exit_code
        self._over = True


def _named(code: str) -> str | None:
    """The file name in a first line `# filename: NAME`."""
    first, _, _ = code.partition("\n")
    prefix = "# filename:"
    return first[len(prefix) :].strip() or None if first.startswith(prefix) else None


def _bytes(code: str) -> bytes:
    # A lone surrogate, which a model's JSON may hold, isn't text. The host refuses such code.
    return code.encode("utf-8", "replace")
