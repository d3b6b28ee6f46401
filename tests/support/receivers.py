"""Receivers of what notifiers send: an HTTP server and a mail server, each real and on a port of its own."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.waiting import wait_until


class Received:
    """One request."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers  # names in lower case
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpReceiver:
    """Keeps the requests it gets; answers each with `statuses`, the first first and the last for ever."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.statuses = [200]
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Received(self.path, headers, body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_for(self, count: int) -> list[Received]:
        """Return the requests, once there are so many."""
        wait_until(lambda: len(self.requests) >= count)
        return self.requests


class Mailbox:
    """What a mail server took: for whom, and the mail."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refused: set[str] = set()  # recipients
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                recipients: list[str] = []
                self.say("220 test")
                while line := self.rfile.readline():
                    verb = line[:4].upper()
                    if verb == b"RCPT":
                        address = line.decode().partition("<")[2].partition(">")[0]
                        if address in mailbox.refused:
                            self.say("550 nobody here")
                            continue
                        recipients.append(address)
                    elif verb == b"DATA":
                        self.say("354 go on")
                        mail = message_from_bytes(self.data(), _class=EmailMessage, policy=policy.default)
                        mailbox.mails.append((recipients, mail))
                    elif verb == b"QUIT":
                        self.say("221 bye")
                        return
                    self.say("250 ok")

            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

            def data(self) -> bytes:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.removeprefix(b"."))
                return b"".join(lines).replace(b"\r\n", b"\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port: int = self.server.server_address[1]


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """Yield a receiver of webhooks."""
    receiver = HttpReceiver()
    with _serving(receiver.server):
        yield receiver


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Yield a mail server without protection of the connection."""
    box = Mailbox()
    with _serving(box.server):
        yield box


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
