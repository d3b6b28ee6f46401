"""A bounded HTTP/1.1 load on a loopback address: keep-alive connections, each with one request in flight."""

import argparse
import ipaddress
import multiprocessing
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

MAX_SECONDS = 600.0
RECEIVE_BYTES = 65536


class Load(Struct, frozen=True):
    """What one load run did."""

    requests: int  # answered
    elapsed_s: float
    body_bytes: int  # of the answered requests, as sent
    statuses: dict[int, int]
    latencies_s: list[float]  # one a request, in the order of the answers
    cpu_s: float  # that the client itself used

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return self.requests / self.elapsed_s

    def check(self) -> None:
        """Raise RuntimeError unless every request was answered with 200."""
        if set(self.statuses) != {200}:
            raise RuntimeError(f"not every request was answered with 200: {self.statuses}")

    def quantile_s(self, share: float) -> float:
        """Return the latency that `share` of the requests (0 to 1) did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection:
    """One keep-alive connection and the request it is at."""

    __slots__ = ("body_bytes", "chunks", "need", "received", "sent", "sock", "started", "writing")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sent: memoryview = memoryview(b"")
        self.body_bytes = 0
        self.writing = False
        self.started = 0.0
        self.chunks: list[bytes] = []
        self.received = 0
        self.need = -1


def http_request(method: str, path: str, host: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return the bytes of one keep-alive request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def run(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    max_requests: int = 10_000_000,
) -> Load:
    """Send `requests` in turn over `connections` connections until `seconds` or `max_requests` are reached.

    What is sent is the first so many of `requests`, repeated, whichever connection each goes by.

    Only loopback addresses are accepted (ValueError otherwise). Raise ConnectionError when the server hangs up.
    """
    if not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(f"{address[0]} is not a loopback address")
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS:g}")
    run = _Run(requests, seconds, max_requests)
    try:
        cpu_began_s = time.process_time()
        for _ in range(min(connections, max_requests)):
            run.connect(address)
        run.finish()
        return run.load(time.process_time() - cpu_began_s)
    finally:
        run.close()


class _Run:
    """A load run under way."""

    def __init__(self, requests: Sequence[bytes], seconds: float, max_requests: int) -> None:
        self._requests = requests
        self._body_sizes = [len(request) - request.index(b"\r\n\r\n") - 4 for request in requests]
        self._max_requests = max_requests
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._statuses: Counter[int] = Counter()
        self._latencies_s: list[float] = []
        self._body_bytes = 0
        self._started = 0  # requests
        self._began_s = time.perf_counter()
        self._deadline_s = self._began_s + seconds

    def connect(self, address: tuple[str, int]) -> None:
        """Open a connection and send its first request."""
        connection = _Connection(address)
        self._connections[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock.fileno(), select.EPOLLIN)
        self._start(connection)

    def finish(self) -> None:
        """Send and receive until the time is over and the last request is answered."""
        is_running = True
        busy = self._started
        while busy:
            for fd, event in self._epoll.poll(1.0):
                connection = self._connections[fd]
                if event & select.EPOLLOUT:
                    self._push(connection)
                if not event & ~select.EPOLLOUT or not self._receive(connection):
                    continue
                if time.perf_counter() >= self._deadline_s or self._started >= self._max_requests:
                    is_running = False
                if is_running:
                    self._start(connection)
                else:
                    busy -= 1
            if is_running and time.perf_counter() > self._deadline_s + MAX_SECONDS:
                raise TimeoutError("the server stopped answering")

    def load(self, cpu_s: float) -> Load:
        """Return what was done until now."""
        elapsed_s = time.perf_counter() - self._began_s
        answered = len(self._latencies_s)
        return Load(answered, elapsed_s, self._body_bytes, dict(self._statuses), self._latencies_s, cpu_s)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()

    def _start(self, connection: _Connection) -> None:
        turn = self._started % len(self._requests)
        self._started += 1
        connection.body_bytes = self._body_sizes[turn]
        connection.chunks.clear()
        connection.received, connection.need = 0, -1
        connection.started = time.perf_counter()
        connection.sent = memoryview(self._requests[turn])
        self._push(connection)

    def _push(self, connection: _Connection) -> None:
        try:
            count = connection.sock.send(connection.sent)
        except BlockingIOError:
            count = 0
        connection.sent = connection.sent[count:]
        waiting = len(connection.sent) > 0
        if waiting != connection.writing:
            connection.writing = waiting
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if waiting else 0))

    def _receive(self, connection: _Connection) -> bool:
        """Receive what is there; return whether that ends the answer, which is counted then."""
        data = connection.sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection")
        connection.chunks.append(data)
        connection.received += len(data)
        if connection.need < 0:
            connection.need = _answer_bytes(connection)
        if connection.received < connection.need or connection.need < 0:
            return False
        self._statuses[int(connection.chunks[0][9:12])] += 1
        self._latencies_s.append(time.perf_counter() - connection.started)
        self._body_bytes += connection.body_bytes
        return True


def _answer_bytes(connection: _Connection) -> int:
    """Return length of the whole answer, -1 while its head is incomplete."""
    if len(connection.chunks) > 1:
        connection.chunks[:] = [b"".join(connection.chunks)]
    data = connection.chunks[0]
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return -1
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return end + 4
    line_end = head.find(b"\r\n", at + 2)
    return end + 4 + int(head[at + 17 : line_end if line_end > 0 else end])


def run_once(address: tuple[str, int], requests: Sequence[bytes], *, connections: int) -> Load:
    """Send each request once; raise RuntimeError unless all are answered with 200."""
    done = run(address, requests, connections=connections, seconds=MAX_SECONDS, max_requests=len(requests))
    done.check()
    return done


def run_processes(
    address: tuple[str, int], requests: Sequence[bytes], *, processes: int, connections: int, seconds: float
) -> Load:
    """Do as `run` does, from several client processes; `connections` is their sum."""
    if processes == 1:
        return run(address, requests, connections=connections, seconds=seconds)
    share = connections // processes
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        jobs = [
            pool.apply_async(run, (address, requests), {"connections": share, "seconds": seconds})
            for _ in range(processes)
        ]
        parts = [job.get(seconds + MAX_SECONDS) for job in jobs]
    statuses: Counter[int] = Counter()
    for part in parts:
        statuses.update(part.statuses)
    return Load(
        sum(part.requests for part in parts),
        max(part.elapsed_s for part in parts),
        sum(part.body_bytes for part in parts),
        dict(statuses),
        [latency for part in parts for latency in part.latencies_s],
        sum(part.cpu_s for part in parts),
    )


def main() -> None:
    """Repeat one request from the command line, repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--method", default="POST")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--body", default="")
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    headers = {name.strip(): value.strip() for name, value in (h.split(":", 1) for h in options.header)}
    request = http_request(
        options.method, options.path, f"{options.host}:{options.port}", headers, options.body.encode()
    )
    load = run_processes(
        (options.host, options.port),
        [request],
        processes=options.processes,
        connections=options.connections,
        seconds=options.seconds,
    )
    print(
        f"{load.per_second:,.0f} requests/s, {load.body_bytes / load.elapsed_s / 1e6:,.1f} MB/s, "
        f"client {load.cpu_s / load.elapsed_s:.0%} of a core, "
        f"p50 {load.quantile_s(0.5) * 1e3:.1f} ms, p99 {load.quantile_s(0.99) * 1e3:.1f} ms, {load.statuses}"
    )


if __name__ == "__main__":
    main()
