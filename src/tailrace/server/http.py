"""The HTTP server: Granian on the running event loop, over a socket that is already listening."""

import resource
import socket
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from tailrace.server.asgi import Application

MAX_CONNECTIONS = 4096  # at the same time; further ones wait in the kernel
RESERVED_DESCRIPTORS = 256  # for files, and for connections that the server opens itself
MAX_DESCRIPTORS = 1_048_576
HEADER_TIMEOUT_MS = 30_000


def raise_descriptor_limit() -> int:
    """Let the process open as many files as it may at most; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, soft)


def max_connections(descriptors: int) -> int:
    """Return how many connections leave enough of so many descriptors for files."""
    return min(MAX_CONNECTIONS, max(descriptors - RESERVED_DESCRIPTORS, descriptors // 4))


class HttpServer(Server):
    """Serves one application on one listening socket, in this process and on this event loop.

    `serve()` returns after `stop()`, once the requests in flight are answered.
    """

    def __init__(self, application: Application, listener: socket.socket, *, backlog: int, connections: int) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,  # where it may be HTTP/2 too, a connection that sends nothing is never closed
            websockets=False,
            backlog=backlog,
            backpressure=connections,  # each holds a place from when it is accepted until it is closed
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian would bind the address itself, such that a second server may share it. It closes what it is given.
        self._shd: Any = SocketHolder(self._listener.detach(), False, self.backlog)  # type: ignore[call-arg]
        self._sfd: Any = self._shd.get_fd()
