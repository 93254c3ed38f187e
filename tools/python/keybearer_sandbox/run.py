"""One execution of one program."""

import ast
import atexit
import builtins
import gc
import io
import json
import linecache
import logging
import os
import random
import sys
import types
import weakref

from keybearer_sandbox import output as outputs

# The name that tracebacks show for the program.
FILE = "main.py"
# The longest `result`, in bytes of JSON. The host takes 1 MiB for everything together.
RESULT_BYTES_MAX = 128 << 10
# Memory that is let go when the program has used up all it may have, so that its traceback can be written.
_RESERVE_BYTES = 1 << 20
# Where this package, the module `keybearer` and the component lie: their frames aren't the program's.
OWN = (
    __file__.rpartition("/")[0] + "/",
    "/python/site-packages/keybearer.py",
    "/python/site-packages/keybearer_sandbox/",
    "/0/app.py",
)
# Compiler flags that `from __future__ import …` sets.
_FUTURE = 0x1FE0000 | 0x1000 | 0x2000
_ONLY_AST = 0x400

_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_quote = json.encoder.encode_basestring
_name_of = type.__dict__["__name__"].__get__

# Not among what lasts: it couldn't be let go.
reserve = [bytearray(_RESERVE_BYTES)]

# Where what lives as long as the image lies, for whoever makes the component: see `image`.
lasting = bytearray()


def renew():
    """Makes anew what every execution writes to. Called while the component is built, so that it lies together."""
    global _output, _stdout, _stderr
    _output = outputs.Output()
    _stdout = outputs.stream(_output, 1, "<stdout>", "strict")
    _stderr = outputs.stream(_output, 2, "<stderr>", "backslashreplace")
    linecache.cache = {}
    # componentize-py seeds it at the start of each execution.
    old, random._inst = random._inst, random.Random()
    for name, value in vars(random).items():
        if getattr(value, "__self__", None) is old:
            setattr(random, name, getattr(random._inst, name))


renew()


class _Stdin(io.BytesIO):
    """Standard input: at its end from the start."""

    name = "<stdin>"

    def fileno(self):
        return 0


_stdin = io.TextIOWrapper(_Stdin(), encoding="utf-8")
_stdin.mode = "r"


_open, _write = io.open, os.write


def open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    """What `open` does here: standard output and error are the program's output, by their numbers too."""
    if type(file) is int and file in (1, 2) and "r" not in mode:
        return outputs.opened(_output, file, "b" in mode, encoding, errors, newline)
    return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def write(fd, data, /):
    """What `os.write` does here."""
    if fd not in (1, 2):
        return _write(fd, data)
    data = bytes(memoryview(data))
    _output.write(data)
    return len(data)


# Run while the component is built, so that what the interpreter makes on first use is made by then.
_REHEARSAL = (
    "print('hi')",
    "import sys\nx = [i * 2 for i in range(10)]\nprint(x, file=sys.stderr)\n{'a': x, 'b': 'c'}",
    "class A:\n    def f(self):\n        return f'{1:>5}'\nprint(A().f())\nA()",
    "def f():\n    raise ValueError('no')\ntry:\n    f()\nexcept ValueError:\n    {}['missing']",
    "import math, keybearer\nundefined_name",
    "x = = 1",
    "import nothing_of_this_name",
)
_REHEARSALS = 20


def rehearse(call):
    """Runs a few programs, each by `call`, as an execution is. Done while the component is built, before `prepare`."""
    for _ in range(_REHEARSALS):
        for code in _REHEARSAL:
            prepare()
            make_main()
            random.seed()
            call(code)
    reserve[:] = [bytearray(_RESERVE_BYTES)]


def prepare():
    """Sets up what every execution starts with, but for its module. Called while the component is built."""
    _output.clear()
    linecache.clearcache()
    io.open = builtins.open = open
    os.write = write
    os._exit = _leave
    os.abort = _abort
    # A rehearsal has run what was registered for the end.
    weakref.finalize._registered_with_atexit = False
    atexit.unregister(_end_logging)
    atexit.register(_end_logging)
    sys.stdin = sys.__stdin__ = _stdin
    sys.stdout = sys.__stdout__ = _stdout
    sys.stderr = sys.__stderr__ = _stderr
    sys.orig_argv = [FILE]


def make_main():
    """Makes the module that the program runs as. Called after `prepare`, and after `gc.freeze`: what a frozen object holds, the
    collector looks at again and again."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=FILE, __cached__=None)


def _end_logging():
    # One handler is there from the start, and has nothing to end.
    if len(logging._handlerList) > 1:
        logging.shutdown()


def _leave(status):
    """What `os._exit` does here: the component's own exit would lose what the program wrote."""
    raise SystemExit(status)


def _abort():
    raise SystemExit(134)


def run(code):
    """Runs the program and says, as JSON, how it ended and what it wrote."""
    value = None
    try:
        exit_code = 0
        sys.argv = [FILE]
        try:
            value = _execute(code)
        except BaseException as error:
            exit_code = _end(error)
        exit_code = _finish(exit_code)
        return _answer(exit_code, value)
    except BaseException as error:
        # Only a program that left no memory, or took this module apart, comes here.
        del value
        reserve.clear()
        said = _quote(f"the program left the interpreter unable to go on: {_kind(error)}")
        return f'{{"exit_code":1,"output":{said}}}'


def _execute(code):
    """Runs the program; returns the value of its last line if that's an expression."""
    code = code.removeprefix("\ufeff")
    # Not `splitlines`, for which more than the ends of lines ends a line.
    linecache.cache[FILE] = (len(code), None, io.StringIO(code, newline=None).readlines(), FILE)
    tree = compile(code, FILE, "exec", _ONLY_AST, dont_inherit=True)
    last = None
    if tree.body and type(tree.body[-1]).__name__ == "Expr":
        last = tree.body.pop()
    names = sys.modules["__main__"].__dict__
    try:
        program = compile(tree, FILE, "exec", dont_inherit=True)
        if last is not None:
            flags = program.co_flags & _FUTURE
            last = compile(ast.Expression(last.value), FILE, "eval", flags, dont_inherit=True)
    except SyntaxError as error:
        # Of a tree, the compiler looks for the line in a file.
        error.text = linecache.getline(FILE, error.lineno)
        raise
    del tree, code
    exec(program, names)
    return None if last is None else eval(last, names)


def _end(error):
    """The exit code of a program that ended with this exception, as the interpreter has it."""
    if isinstance(error, SystemExit):
        return _exit_code(error.code)
    trace = _trimmed(error.__traceback__)
    # Not an assignment, which a class can forbid: a frozen dataclass does.
    BaseException.with_traceback(error, trace)
    if isinstance(error, MemoryError):
        reserve.clear()
    if isinstance(error, ModuleNotFoundError):
        try:
            _advise(error)
        except Exception:
            # The class or the name is the program's own.
            pass
    hook = sys.excepthook
    try:
        hook(type(error), error, trace)
    except BaseException as second:
        if hook is not sys.__excepthook__ and not isinstance(second, SystemExit):
            sys.__excepthook__(type(error), error, trace)
        elif isinstance(second, SystemExit):
            return _exit_code(second.code)
        else:
            raise
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _trimmed(trace):
    """A traceback without the frames that aren't the program's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN):
        trace = trace.tb_next
    at = trace
    while at is not None:
        after = at.tb_next
        while after is not None and after.tb_frame.f_code.co_filename.startswith(OWN):
            after = after.tb_next
        at.tb_next = after
        at = after
    return trace


def _exit_code(code):
    if code is None:
        return 0
    if issubclass(type(code), int):
        # Not by its own methods: whatever they give would stand in the answer.
        fits = int.__rshift__(code, 63) in (0, -1)
        # An interpreter reads what no C `long` holds as -1.
        return int.__and__(code, 0xFF) if fits else 255
    try:
        print(code, file=sys.stderr)
    except BaseException:
        pass
    return 1


def _advise(error):
    if not error.name or getattr(error, "__notes__", None):
        return
    root = error.name.partition(".")[0]
    if root in ("requests", "httpx", "urllib3", "aiohttp", "httplib2", "pycurl", "websockets"):
        error.add_note(f"The sandbox has no sockets, so {root} is no use in it. {HTTP_ADVICE}")
    elif str(error).startswith("No module named"):
        error.add_note(
            "The sandbox holds Python's standard library and the pure-Python packages that its operator put in "
            "(`keybearer sandbox build --with PACKAGE==VERSION`); nothing can be installed from here."
        )


HTTP_ADVICE = 'To send a request: `import keybearer`, then `keybearer.http("<connection>").get("/path")`.'


def _finish(exit_code):
    """What the interpreter does at its end: functions registered with `atexit`, what objects do at theirs, streams
    flushed."""
    try:
        atexit._run_exitfuncs()
    except SystemExit as error:
        exit_code = _exit_code(error.code)
    except BaseException:
        pass
    _let_go()
    if _output.wrapped:
        _flush_all()
    for name in ("stdout", "stderr"):
        try:
            stream = getattr(sys, name)
            if stream is not _stdout and stream is not _stderr:
                stream.flush()
        except BaseException:
            pass
    for stream in (_stdout, _stderr):
        # A program can have them hold back what it writes.
        if not stream.write_through:
            try:
                stream.flush()
            except BaseException:
                # It's closed.
                pass
    return exit_code


def _let_go():
    """Ends the objects with an end of their own that the program's names hold: suspended generators, what has a
    `__del__`. All others stay: nobody waits for their memory, and freeing deep data takes more stack than there is."""
    try:
        names = sys.modules["__main__"].__dict__
        for name in list(names):
            kind = type(names.get(name))
            if hasattr(kind, "__del__") and not issubclass(kind, io.IOBase):
                names[name] = None
    except BaseException:
        # The names or a class are the program's own.
        pass


def _flush_all():
    """Writes what streams hold back, wherever they are."""
    try:
        for one in gc.get_objects():
            if issubclass(type(one), (io.TextIOWrapper, io.BufferedWriter)):
                try:
                    one.flush()
                except BaseException:
                    # It's closed, or the program's own.
                    pass
    except BaseException:
        pass


def _answer(exit_code, value):
    text = _output.text()
    quoted = _quote(text)
    size = len(quoted) if quoted.isascii() else len(quoted.encode())
    if size > outputs.JSON_BYTES_MAX:
        # Every character takes at least one byte and at most six.
        quarter = outputs.JSON_BYTES_MAX // 6 // 4
        cut = "\n[some of the output was cut out here: it's mostly control characters]\n"
        quoted = _quote(text[: 3 * quarter] + cut + text[-quarter:])
    if value is None:
        return f'{{"exit_code":{exit_code},"output":{quoted}}}'
    return f'{{"exit_code":{exit_code},"output":{quoted},"result":{_quote(_result(value))}}}'


def _result(value):
    """A value as JSON, or as its repr if it can't be written so."""
    try:
        text = _dumps(value)
    except BaseException:
        try:
            text = str.__str__(repr(value))
        except BaseException as error:
            text = f"<{_kind(value)}: its repr failed with {_kind(error)}>"
    # A lone surrogate can't be passed on; inside JSON its escape means the same. More than can fit isn't written once more:
    # there may be no memory for that.
    data = text[: RESULT_BYTES_MAX + 1].encode("utf-8", "backslashreplace")
    if len(data) > RESULT_BYTES_MAX // 6 and len(_quote(data.decode()).encode()) > RESULT_BYTES_MAX:
        kept = data[: RESULT_BYTES_MAX // 6].decode("utf-8", "ignore")
        return f"{kept}… [cut: the result has {len(text)} characters]"
    return data.decode()


def _kind(one):
    """The name of an object's class, whatever its metaclass says."""
    return str.__str__(_name_of(type(one)))
