"""A web server on the loopback that sends files in parts, counts what it sent, and misbehaves where a test says so."""

import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass
class Served:
    """What a server has, how it behaves, and what it was asked."""

    files: dict = field(default_factory=dict)
    """Path -> bytes, or a file of the disk."""
    redirects: dict = field(default_factory=dict)
    """Path -> where it leads."""
    first: list = field(default_factory=list)
    """(status, headers) with which the next requests are answered, one each, before anything is sent."""
    tag: object = '"one"'
    """The ETag; a function gets the number of the request. None for none."""
    headers: dict = field(default_factory=dict)
    """Headers that are added to what is sent, or put in the place of others; a function gets the value there."""
    ranges: bool = True
    body: object = None
    """A function of the bytes that should be sent, which gives those that are."""
    answer: object = None
    """A function of the handler that answers in its own way, and says whether it did."""
    asked: list = field(default_factory=list)
    sent: int = 0
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        served, parts = self.served, urlsplit(self.path)
        path = unquote(parts.path)
        served.asked.append(Asked(self.command, path, parts.query, dict(self.headers)))
        if served.first:
            status, headers = served.first.pop(0)
            return self.say(status, headers)
        if served.answer and served.answer(self):
            return None
        if path in served.redirects:
            return self.say(302, {"Location": served.redirects[path]})
        content = served.files.get(path)
        if content is None:
            return self.say(404, {})
        size = os.path.getsize(content) if isinstance(content, Path) else len(content)
        tag = served.tag(len(served.asked)) if callable(served.tag) else served.tag
        headers = {"ETag": tag} if tag else {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked or not served.ranges:
            return self.send(200, headers, content, 0, size)
        start, end = int(asked[1]), min(int(asked[2]) + 1, size)
        if start >= size:
            return self.say(416, {"Content-Range": f"bytes */{size}"})
        return self.send(206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, content, start, end)

    def say(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, status, headers, content, start, end):
        headers = {"Content-Length": str(end - start), **headers}
        for name, value in self.served.headers.items():
            headers[name] = value(headers.get(name, "")) if callable(value) else value
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(content, Path):
            with content.open("rb") as file:
                file.seek(start)
                data = file.read(end - start)
        else:
            data = content[start:end]
        whole = len(data)
        data = self.served.body(data) if self.served.body else data
        self.served.sent += len(data)
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return
        if len(data) != whole:
            self.close_connection = True


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Stay silent: clients that go away are what the tests are about."""


@contextmanager
def serving(**behaviour):
    """Run a server while the block runs, and give what it serves; `url` is where it is."""
    served = Served(**behaviour)
    server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
