"""Modules that can't do anything in the sandbox, and what to do instead."""

_HTTP = 'To send a request: `import keybearer`, then `keybearer.http("<connection>").get("/path")`.'
_SOCKETS = f"the sandbox has no sockets. {_HTTP}"
_PROCESSES = "the sandbox has no processes and no shell."
_NATIVE = "the sandbox loads no native code."
_SCREEN = "the sandbox has no screen and no terminal."
_INSTALL = "nothing can be installed in the sandbox; its operator adds packages with `keybearer sandbox build --with`."
_FORMAT = "the sandbox doesn't have this compression; zlib, gzip and zipfile are there."

REASONS = {
    # Network.
    **dict.fromkeys(
        (
            "_socket ftplib http.client http.cookiejar http.server imaplib poplib select selectors smtplib socket "
            "socketserver ssl urllib.request urllib.robotparser webbrowser wsgiref xmlrpc"
        ).split(),
        _SOCKETS,
    ),
    # Processes and terminals.
    **dict.fromkeys(
        "_posixsubprocess fcntl grp mmap multiprocessing pty pwd resource subprocess syslog termios tty".split(),
        _PROCESSES,
    ),
    **dict.fromkeys("_curses _pyrepl curses idlelib readline tkinter turtle turtledemo".split(), _SCREEN),
    # Native code.
    **dict.fromkeys("_ctypes ctypes".split(), _NATIVE),
    **dict.fromkeys("ensurepip pip venv".split(), _INSTALL),
    **dict.fromkeys("_bz2 _lzma _zstd bz2 compression.bz2 compression.lzma compression.zstd lzma".split(), _FORMAT),
    "dbm": "the sandbox has no files to keep a database in.",
    "shelve": "the sandbox has no files to keep a shelf in.",
    "mailbox": "the sandbox has no files to keep mail in; the package email is there.",
}


def reason(name):
    """Why the module isn't there, if it's one of those."""
    while name:
        if name in REASONS:
            return f"{name} isn't there: {REASONS[name]}"
        name = name.rpartition(".")[0]
    return None
