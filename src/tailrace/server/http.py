"""The HTTP server: Granian on the running event loop, over a socket that is already listening."""

import socket
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from tailrace.server.receiving import Application

MAX_REQUESTS = 4096  # handled at the same time; further ones wait in the kernel
HEADER_TIMEOUT_MS = 30_000


class HttpServer(Server):
    """Serves one application on one listening socket, in this process and on this event loop.

    `serve()` returns after `stop()`, once the requests in flight are answered.
    """

    def __init__(self, application: Application, listener: socket.socket, *, backlog: int) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=backlog,
            backpressure=MAX_REQUESTS,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian would bind the address itself, such that a second server may share it. It closes what it is given.
        self._shd: Any = SocketHolder(self._listener.detach(), False, self.backlog)  # type: ignore[call-arg]
        self._sfd: Any = self._shd.get_fd()
