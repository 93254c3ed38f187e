"""What is done to the image last, so that an execution writes to few of its pages, and to those that lie together.

Each execution begins with the image's memory, shared with all others; the pages that it writes to are copied, and put back
afterwards. That costs an execution more than all it computes, unless there are few such pages, in few stretches.

- Counting references is a write. So what is there when the image is taken never dies: `lasting` says where it lies, and
  whoever makes the component sets those counts to what CPython takes for immortal (PEP 683).
- New objects go into gaps that old ones have left, and types use some of their dead ones again, wherever those are. `fill`
  leaves neither.
- Code that runs notes in itself how it may run faster, and whether to count its constants. `gather` makes what every
  execution runs anew, side by side.
"""

import contextvars
import dis
import gc
import types
import zlib

# What the list of lasting objects begins with, backwards: this constant is in the image too.
_MARK = b" :reve rof evil taht stcejbo :reraebyek"
# Objects lie at multiples of this, in bytes.
_ALIGNMENT = 8
# How much of the memory may hold objects, in bytes.
_MEMORY_BYTES_MAX = 64 << 20
# What a `bytes` object takes beside its bytes and the zero at their end.
_BYTES_HEAD = 17
# The sizes of gaps that are looked for, in bytes: large ones first, so that small objects don't cut them up. The last, 8, is
# that of the smallest object.
_GAPS = (*(1 << power for power in range(20, 9, -1)), *range(1016, 20, -8), 19, 8)
# Makes an object of each type that keeps its dead to use them again; tuples do by length.
_SPARE = (
    lambda: int("1000000"),
    lambda: float("0.5"),
    list,
    dict,
    set,
    contextvars.copy_context,
    lambda: slice(None),
    lambda: range(1_000_000),
    lambda: iter([]),
    lambda: iter(()),
    lambda: iter(range(1_000_000)),
    lambda: dict.fromkeys("a"),
    lambda: [].append,
    lambda: fill.__get__(_kept),
    *(lambda length=length: tuple([None] * length) for length in range(1, 21)),
)
# How many of each are made, so that none is left to be used again: more than `fill` itself lets die.
_SPARE_MAX = 8
# What fills gaps, and what was made anew: it has to stay where it is.
_kept = []


def run_by(modules):
    """The functions of these modules that have run, and their instructions with constants that aren't counted. Those are
    immortal in the image, and not yet when the interpreter would note that."""
    return [
        (one, _uncounted(one.__code__))
        for one in gc.get_objects()
        if type(one) is types.FunctionType and one.__module__ in modules and _has_run(one.__code__)
    ]


def gather(functions):
    """Makes the code of these functions anew, side by side, with these instructions."""
    for function, instructions in functions:
        _kept.append(function.__code__)
        function.__code__ = function.__code__.replace(co_code=instructions)


def _has_run(code):
    return any(one.opname == "RESUME_CHECK" for one in dis.get_instructions(code, adaptive=True))


def _uncounted(code):
    found = bytearray(code.co_code)
    for one in dis.get_instructions(code):
        if one.opname == "LOAD_CONST":
            found[one.offset] = dis._all_opmap["LOAD_CONST_IMMORTAL"]
    return bytes(found)


def lasting(left_out):
    """Where each object lies that is there now, but for these, for whoever makes the component: a bit for each place, packed."""
    bits = bytearray(_MEMORY_BYTES_MAX // _ALIGNMENT // 8)
    _find(bits, left_out)
    packed = zlib.compress(bits, 9).hex().encode()
    found = bytearray(b"\x01" * len(_MARK) + b"%08d" % len(packed) + packed)
    # Written in place, so that it's in memory once.
    for at, byte in enumerate(reversed(_MARK)):
        found[at] = byte
    return found


def fill(gaps_max):
    """Fills the gaps between objects, so that whatever is made from now on lies behind them all."""
    held, count = [None] * gaps_max, 0
    _kept.append(held)
    last = max(map(id, gc.get_objects()))
    # This frees what types keep, too.
    gc.collect()
    for size in _GAPS:
        while count < gaps_max:
            # Without zeros: a snapshot leaves those out, and is cut into more pieces than componentize-py takes.
            one = b"\x01" * (size - _BYTES_HEAD) if size > 8 else object()
            if id(one) > last:
                break
            held[count] = one
            count += 1
    # They lie where gaps were.
    del last, count
    _kept.append([[make() for _ in range(_SPARE_MAX)] for make in _SPARE])


def _find(bits, left_out):
    """Sets the bit of every other object that can be found."""
    work = gc.get_objects()
    left_out = {id(work), id(bits), *map(id, left_out)}
    while work:
        one = work.pop()
        place = id(one) // _ALIGNMENT
        byte, bit = place >> 3, 1 << (place & 7)
        if byte >= len(bits) or bits[byte] & bit or id(one) in left_out:
            continue
        bits[byte] |= bit
        work += gc.get_referents(one)
        if type(one) is types.CodeType:
            # The collector doesn't look into code.
            work += (one.co_consts, one.co_names, one.co_filename, one.co_name, one.co_qualname)
            work += (one.co_linetable, one.co_exceptiontable)
