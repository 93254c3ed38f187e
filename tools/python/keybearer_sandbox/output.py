"""Standard output and standard error of a program: one list of bytes, in order and bounded."""

import io

# What is kept of a program's output, in bytes: the beginning, and of a longer output also the end, where the
# traceback is. With the sentence in between, that's 256 KiB, which is what the host answers with.
HEAD_BYTES_MAX = 192 << 10
TAIL_BYTES_MAX = (64 << 10) - 256
# The longest JSON form of the output, in bytes. The host takes results of 1 MiB, and a control character takes six
# bytes there.
JSON_BYTES_MAX = 600 << 10


class Output:
    """What a program wrote."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Forgets everything."""
        self._head = []
        self._tail = []
        self._head_bytes = 0
        self._tail_bytes = 0
        self._dropped = 0
        #: Whether the program has put a stream of its own before one of the two, which may hold something back.
        self.wrapped = False

    def write(self, data):
        room = HEAD_BYTES_MAX - self._head_bytes
        if len(data) <= room:
            self._head.append(data)
            self._head_bytes += len(data)
            return
        if room > 0:
            self._head.append(data[:room])
            self._head_bytes += room
            data = data[room:]
        if len(data) > TAIL_BYTES_MAX:
            self._dropped += len(data) - TAIL_BYTES_MAX
            data = data[-TAIL_BYTES_MAX:]
        self._tail.append(data)
        self._tail_bytes += len(data)
        if self._tail_bytes > 2 * TAIL_BYTES_MAX:
            self._trim()

    def text(self):
        """The output, with a sentence in the place of what was cut."""
        if self._tail_bytes > TAIL_BYTES_MAX:
            self._trim()
        head, tail = b"".join(self._head), b"".join(self._tail)
        if not self._dropped:
            return (head + tail).decode("utf-8", "replace")
        cut = f"\n[{self._dropped} bytes of output were cut out here: at most {HEAD_BYTES_MAX + TAIL_BYTES_MAX} are kept]\n"
        return head.decode("utf-8", "replace") + cut + tail.decode("utf-8", "replace")

    def _trim(self):
        tail = b"".join(self._tail)
        self._dropped += len(tail) - TAIL_BYTES_MAX
        self._tail = [tail[-TAIL_BYTES_MAX:]]
        self._tail_bytes = TAIL_BYTES_MAX


class _Raw(io.RawIOBase):
    """The bytes of one of the two streams."""

    def __init__(self, output, number, name):
        self._output = output
        self._write = output.write
        self._number = number
        self.name = name

    def write(self, data):
        if type(data) is not bytes:
            # Its bytes, and not what its class gives for them.
            data = bytes(memoryview(data))
        self._write(data)
        return len(data)

    def writable(self):
        # A `BufferedWriter` that is made asks this, and a `TextIOWrapper` the next.
        self._output.wrapped = True
        return True

    def seekable(self):
        self._output.wrapped = True
        return False

    def fileno(self):
        return self._number


def stream(output, number, name, errors, encoding="utf-8", newline="\n"):
    """A text stream that passes everything on at once, so that the two streams stay in order."""
    text = io.TextIOWrapper(_Raw(output, number, name), encoding, errors, newline, write_through=True)
    text.mode = "w"
    return text


def opened(output, number, binary, encoding, errors, newline):
    """What `open` gives for standard output or error by its number."""
    if binary:
        return _Raw(output, number, number)
    return stream(output, number, number, errors, encoding or "utf-8", newline)
