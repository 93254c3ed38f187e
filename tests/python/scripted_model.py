"""A chat server like OpenAI's, on loopback, whose models say what a test wrote down for them.

    with ScriptedModel() as models:
        models.script("gpt-4o", [("get_invoice", {"id": "in_1"})], "It is paid.")

A reply is a text, a list of calls, or a function that is called for it at that moment. What reached the server is kept whole, as a model's vendor would have it.
"""

import http.server
import itertools
import json
import threading
from collections import deque

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


class ScriptedModel:
    def __init__(self):
        self.received = []
        self._scripts = {}
        self._bodies = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        handler = type("Handler", (Handler,), {"models": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self):
        """What turns a program that uses OpenAI's client to this server."""
        return {"OPENAI_API_KEY": "of-no-use", "OPENAI_BASE_URL": self.url}

    def script(self, model, *replies):
        """What this model says, request by request."""
        self._scripts[model] = deque(replies)

    def left(self):
        """The replies that nobody asked for, by model."""
        return {model: list(replies) for model, replies in self._scripts.items() if replies}

    def messages(self, model):
        """What this model was sent, request by request."""
        return [body["messages"] for body in self._bodies if body["model"] == model]

    def tools(self, model):
        """The tools that this model was offered in its last request, by name."""
        offered = [body.get("tools", []) for body in self._bodies if body["model"] == model][-1]
        return {tool["function"]["name"]: tool["function"] for tool in offered}

    def results(self, model):
        """The results of tools that this model was shown, in order, each once."""
        shown = {}
        for messages in self.messages(model):
            for message in messages:
                if message["role"] == "tool":
                    shown[message["tool_call_id"]] = message["content"]
        return list(shown.values())

    def everything(self):
        """All bytes that reached the server, heads of requests too."""
        return b"\n".join(self.received)

    def answer(self, body):
        """The message that this request gets. None if the script is at its end."""
        with self._lock:
            self._bodies.append(body)
            replies = self._scripts.get(body["model"])
            if not replies:
                return None
            reply = replies.popleft()
            if callable(reply):
                reply = reply()
            if isinstance(reply, str):
                return {"role": "assistant", "content": reply}
            calls = [
                {
                    "id": f"call_{next(self._numbers)}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for name, arguments in reply
            ]
            return {"role": "assistant", "content": None, "tool_calls": calls}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models = None

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.models.received += [f"{self.requestline}\n{self.headers}".encode(), raw]
        body = json.loads(raw)
        message = self.models.answer(body)
        if message is None:
            # A client's mistake: what is a server's, clients try again.
            error = {"message": f"the script of {body['model']} has no more replies", "type": "script"}
            return self.reply(400, "application/json", json.dumps({"error": error}))
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        whole = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            whole |= {"object": "chat.completion", "choices": [choice], "usage": USAGE}
            return self.reply(200, "application/json", json.dumps(whole))
        whole |= {"object": "chat.completion.chunk"}
        choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in pieces(message)]
        choices.append([{"index": 0, "delta": {}, "finish_reason": finish}])
        events = [{**whole, "choices": choice} for choice in choices]
        events.append({**whole, "choices": [], "usage": USAGE})
        lines = [json.dumps(event) for event in events] + ["[DONE]"]
        self.reply(200, "text/event-stream", "".join(f"data: {line}\n\n" for line in lines))

    def reply(self, status, media_type, text):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def pieces(message):
    """A message as a stream brings it: a text word by word, a call's name before its arguments."""
    if message["content"] is not None:
        words = message["content"].split(" ")
        return [{"role": "assistant", "content": word if not n else f" {word}"} for n, word in enumerate(words)]
    deltas = []
    for index, call in enumerate(message["tool_calls"]):
        function = call["function"]
        first = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"role": "assistant", "content": None, "tool_calls": [first]})
        rest = {"index": index, "function": {"arguments": function["arguments"]}}
        deltas.append({"tool_calls": [rest]})
    return deltas
