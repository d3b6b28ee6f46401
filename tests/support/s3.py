"""A real S3 server, and a proxy before it that has requests fail as the tests want."""

import http.client
import itertools
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from support.ports import free_ports
from support.waiting import wait_until

BUCKET = "tables"
START_TIMEOUT_S = 60.0

Fault = Literal[
    "refused", "slow down", "cut", "late", "cut after it was done", "error after it was done", "unconditional"
]
"""What becomes of a request. The first three do not reach the store, nor does a late one before it is released."""


class S3Server:
    """An S3 server of one bucket."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str = "") -> dict[str, str]:
        """Return the variables by which clients find it, or a proxy before it."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }

    def url(self) -> str:
        """Return a place in the bucket where nothing is."""
        return f"s3://{BUCKET}/{uuid.uuid4()}"


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Run a server on free ports, with its files in a directory."""
    master, volume, filer, s3, *grpc = free_ports(8)
    command = [
        str(Path(sys.executable).with_name("weed")),
        "server",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-master.port={master}",
        f"-master.port.grpc={grpc[0]}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={grpc[1]}",
        f"-filer.port={filer}",
        f"-filer.port.grpc={grpc[2]}",
        f"-s3.port={s3}",
        f"-s3.port.grpc={grpc[3]}",
        f"-s3.localSocket={directory / 's3.sock'}",
        f"-filer.localSocket={directory / 'filer.sock'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=0",
        "-master.telemetry=false",
    ]
    with (directory / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
    try:
        server = S3Server(s3)
        wait_until(lambda: _makes_bucket(server), START_TIMEOUT_S)
        yield server
    finally:
        process.kill()
        process.wait()


def _makes_bucket(server: S3Server) -> bool:
    request = urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 409  # it is there
    except OSError:
        return False


class ProxyServer(ThreadingHTTPServer):
    """A server of the proxy, to which a hundred connections may come at once, and be broken off."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that are gone."""


class Proxy:
    """Passes requests on, but for those that `fault(number, method, path)` names a fault for; numbers begin with 0.

    What `fault` raises or waits for is before the request reaches the store; `after(number, method, path)` is called
    once it has answered, before the client knows.
    """

    def __init__(self, upstream: S3Server) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[int, str, str], Fault | None] | Callable[[int, str, str], None] = lambda *_: None
        self.after: Callable[[int, str, str], None] = lambda *_: None
        self._upstream = upstream
        self._late: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._numbers = itertools.count()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do(self) -> None:
                proxy._answer(self)

        for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            setattr(Handler, f"do_{method}", Handler.do)

        self._server = ProxyServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """The URL of the proxy."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def reset(self) -> None:
        """Forget the requests so far, and have no further one fail."""
        self.requests.clear()
        self._numbers = itertools.count()
        self.fault = lambda *_: None
        self.after = lambda *_: None

    def close(self) -> None:
        """Take no further connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        number, method, path = next(self._numbers), handler.command, handler.path
        self.requests.append((method, path))
        fault = self.fault(number, method, path)
        if fault == "late":
            self._late.append((method, path, body, dict(handler.headers.items())))
        if fault in ("cut", "late"):
            handler.close_connection = True
            return
        if fault in ("refused", "slow down"):
            status, code = (403, "AccessDenied") if fault == "refused" else (503, "SlowDown")
            _send(handler, status, {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        headers = dict(handler.headers.items())
        if fault == "unconditional":
            headers = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        status, answered, content = self._pass_on(method, path, body, headers)
        self.after(number, method, path)
        if fault == "cut after it was done":
            handler.close_connection = True
        elif fault == "error after it was done":
            _send(handler, 500, {}, b"<Error><Code>InternalError</Code></Error>")
        else:
            _send(handler, status, answered, content)

    def release_late(self) -> list[int]:
        """Pass the late requests on now; return the status that the store answers to each."""
        late, self._late = self._late, []
        return [self._pass_on(*request)[0] for request in late]

    def _pass_on(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, dict(response.getheaders()), content
        finally:
            connection.close()


def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
    handler.send_response_only(status)
    length = headers.pop("Content-Length", None) if handler.command == "HEAD" else None
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            handler.send_header(name, value)
    handler.send_header("Content-Length", length or str(len(content)))
    handler.end_headers()
    if handler.command == "HEAD":
        return  # a body would be read as the beginning of the next answer
    try:
        handler.wfile.write(content)
    except OSError:
        handler.close_connection = True  # the client has ended
