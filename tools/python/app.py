"""The component: what the world `keybearer:tool/tool` asks for, over CPython.

componentize-py runs this file once, while it builds the component, and keeps the memory that the interpreter has
then. So what is done here at the top costs an execution nothing: the standard library is packed into memory, and
the modules that code uses most are imported. After that there are no files any more.
"""

import json

import wit_world
from componentize_py_types import Err

from keybearer_sandbox import build, run

_CODE = {
    "type": "string",
    "description": "The Python program. It runs as a script does, from an empty state each time.",
}
_INPUT = {
    "type": "object",
    "properties": {"code": _CODE},
    "required": ["code"],
    "additionalProperties": False,
}
_OUTPUT = {
    "type": "object",
    "properties": {
        "exit_code": {
            "type": "integer",
            "description": "0 if the program ended well, 1 after an uncaught exception, or what it gave to sys.exit.",
        },
        "output": {"type": "string", "description": "Standard output and standard error, in order."},
        "result": {
            "type": "string",
            "description": "The value of the program's last line if that's an expression: as JSON, or its repr.",
        },
    },
    "required": ["exit_code", "output"],
    "additionalProperties": False,
}
_DESCRIPTION = (
    "Runs a Python program in a fresh sandbox and returns what it printed. The standard library is there; files, "
    "processes, threads and sockets are not. To reach an upstream, `import keybearer` and call "
    '`keybearer.http("<connection>").get("/path")`: the host attaches the credential and applies the policy.'
)


_TOOLS = [
    wit_world.ToolDescription(
        name="run_python",
        description=_DESCRIPTION,
        input_schema=json.dumps(_INPUT),
        output_schema=json.dumps(_OUTPUT),
        connections=[],
    )
]


class WitWorld(wit_world.WitWorld):
    """The component's exports."""

    def __init__(self):
        # Called after this module has been imported: hardly anything is made between that and the snapshot.
        _finish()

    def describe(self):
        return _TOOLS

    def call(self, name, arguments_json):
        if name != "run_python":
            error = wit_world.ToolError(wit_world.ErrorKind.NOT_FOUND, "this component has one tool: run_python")
            raise Err(error)
        return run.run(json.loads(arguments_json)["code"])


build.build(lambda code: WitWorld.call(None, "run_python", json.dumps({"code": code})))
_finish = build.finish
del build
