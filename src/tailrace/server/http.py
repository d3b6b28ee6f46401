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
    """Raise the limit of open files as far as the system allows; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, soft)


def max_connections(descriptors: int, others: int = 0) -> int:
    """Return the most connections that leave enough descriptors for files, and for so many `others`."""
    return min(MAX_CONNECTIONS, max(descriptors - others - RESERVED_DESCRIPTORS, descriptors // 4))


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
            backpressure=connections,  # counted from the accept to the close
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian would bind the address itself, so that a second server could share it. It closes this socket.
        self._shd: Any = SocketHolder(self._listener.detach(), False, self.backlog)  # type: ignore[call-arg]
        self._sfd: Any = self._shd.get_fd()
