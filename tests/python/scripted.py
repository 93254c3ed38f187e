"""A server on loopback that answers as it's told, for answers that a host gives rarely or never: it's down, slow, wrong,
or not a host at all."""

import contextlib
import http.server
import json
import socket
import threading
from dataclasses import dataclass, field

TOKEN = "kbt_" + "a" * 43
OPERATOR = "kbo_" + "b" * 43


@dataclass
class Reply:
    """What is answered, after so many seconds. A body that isn't bytes is written as JSON."""

    status: int = 200
    body: object = field(default_factory=dict)
    media_type: str = "application/json"
    headers: dict = field(default_factory=dict)
    wait_s: float = 0


def problem(status, code, retry="no", request_sent="no", **headers):
    """A refusal in the host's form."""
    body = {
        "type": f"urn:keybearer:problem:{code}",
        "title": code,
        "status": status,
        "detail": f"The call failed ({code}): told so.",
        "code": code,
        "request_sent": request_sent,
        "retry": retry,
    }
    return Reply(status, body, "application/problem+json", headers)


class Scripted:
    """The server: its replies, one after the other (the last one for all that follow), what was asked of it, over which
    connection, and how many answers have been written.

    A reply of `None` closes the connection without an answer; one that is a `threading.Event` is none until it's set.
    """

    def __init__(self, *replies):
        self.replies, self.asked, self.peers, self.answered = list(replies), [], [], 0
        self.over = threading.Event()
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                script.peers.append(self.client_address)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.asked.append((self.command, self.path, dict(self.headers), json.loads(body) if body else None))
                reply = script.replies.pop(0) if len(script.replies) > 1 else script.replies[0]
                if isinstance(reply, threading.Event):
                    reply.wait(30)
                    reply = None
                if reply is None:
                    self.close_connection = True
                    return
                script.over.wait(reply.wait_s)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.media_type, **reply.headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                # Who asked may have gone by then.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content)
                    script.answered += 1

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for reply in self.replies:
            if isinstance(reply, threading.Event):
                reply.set()
        self.server.shutdown()
        self.server.server_close()


# A port that is taken, so that nobody else is given it, and never listened on.
SILENT = socket.socket()
SILENT.bind(("127.0.0.1", 0))


def dead_port():
    """A port of loopback where nobody listens."""
    return SILENT.getsockname()[1]
