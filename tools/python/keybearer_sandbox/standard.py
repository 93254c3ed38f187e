"""What of the standard library needs help here: there are no files, musl stands where glibc usually does, and one image is
the beginning of all executions."""

import functools
import logging
import os
import re
import sys
import time
import traceback

from keybearer_sandbox import run

# A directive of `strftime`: flags, a width, a modifier, and a letter.
_DIRECTIVE = re.compile(r"%([-_0^#+]*)([0-9]*)([EO]?)(.?)", re.DOTALL)
# SQLite's own limit.
_BLOB_BYTES_MAX = 1_000_000_000
# The letters that musl knows. With any other it makes nothing of the whole text.
_KNOWN = frozenset("aAbBcCdDeFgGhHIjmMnprRsStTuUVwWxXyYzZ%")
# What glibc knows besides: another letter with this flag, and in this case.
_LIKE = {"k": ("_", "H", None), "l": ("_", "I", None), "P": ("", "p", str.lower)}

_strftime = time.strftime
_walk_stack = traceback.walk_stack
_walk_trace = traceback._walk_tb_with_full_positions


class _Function(staticmethod):
    """A function that a class's attribute makes no method of, and that is copied as what it is: as builtins are."""

    def __reduce__(self):
        return self.__name__


def install():
    """Puts what follows in its place. Called while the component is built."""
    time.strftime = _Function(strftime)
    traceback.walk_stack = _walk
    traceback._walk_tb_with_full_positions = _walked
    sys.unraisablehook = _tell
    logging._startTime = _Start()


@functools.wraps(_strftime)
def strftime(format, /, *moment):
    # `datetime` comes here too: it looks for the function each time.
    if isinstance(format, str):
        moment = moment or (time.localtime(),)
        format = _DIRECTIVE.sub(lambda directive: _in_musl(directive, moment), format)
    return _strftime(format, *moment)


def _in_musl(directive, moment):
    """A directive of glibc in musl's words. One that glibc doesn't know either stands for itself."""
    flags, width, modifier, letter = directive.groups()
    if letter not in _KNOWN and letter not in _LIKE:
        return directive[0].replace("%", "%%")
    flag, letter, case = _LIKE.get(letter, ("", letter, None))
    if "^" in flags and case is None:
        case = str.upper
    elif "#" in flags and letter in "aAbBhpZ":
        case = str.lower if letter in "pZ" else str.upper
    flags = flags.replace("^", "").replace("#", "") or flag
    plain = f"%{flags}{width}{modifier}{letter}"
    return plain if case is None else case(_strftime(plain, *moment)).replace("%", "%%")


@functools.wraps(_walk_stack)
def _walk(f):
    if f is None:
        f = sys._getframe().f_back
    return _without_own(_walk_stack(f))


def _walked(trace):
    """The frames of a traceback."""
    return _without_own(_walk_trace(trace))


def _without_own(frames):
    """All but the sandbox's own."""
    return (at for at in frames if not at[0].f_code.co_filename.startswith(run.OWN))


def _tell(ignored):
    """`sys.unraisablehook`, with lines of the program: the interpreter's own looks for them in files."""
    if sys.stderr is None:
        return
    try:
        said = ignored.err_msg or "Exception ignored in"
        about = "" if ignored.object is None else f" {ignored.object!r}"
        kind, error, trace = ignored.exc_type, ignored.exc_value, ignored.exc_traceback
        text = "".join(traceback.format_exception(kind, error, trace, chain=False))
    except Exception:
        # Too deep in calls, or a `repr` that fails: the interpreter's own, without lines.
        sys.__unraisablehook__(ignored)
        return
    print(f"{said}:{about}\n{text}", end="", file=sys.stderr, flush=True)


class _Start:
    """When logging began, which records take their time from: with the first one, and not when the component was built."""

    def __init__(self):
        self._at = None

    def __rsub__(self, moment):
        if self._at is None:
            self._at = moment
        return moment - self._at


def with_fresh_random(dbapi2):
    """Gives SQLite the host's random numbers. Its own would be the same in each execution."""
    _connect = dbapi2.connect

    @functools.wraps(_connect)
    def connect(*arguments, **named):
        database = _connect(*arguments, **named)
        define = dbapi2.Connection.create_function
        try:
            define(database, "random", 0, lambda: int.from_bytes(os.urandom(8), signed=True))
            define(database, "randomblob", 1, _blob)
        except (TypeError, dbapi2.ProgrammingError):
            # What a `factory` made is no open database.
            pass
        return database

    dbapi2.connect = _Function(connect)


def _blob(size):
    try:
        size = int(size or 0)
    except ValueError:
        size = 0
    if size > _BLOB_BYTES_MAX:
        # Which it says of a blob that is too big.
        raise OverflowError
    return os.urandom(max(size, 1))
