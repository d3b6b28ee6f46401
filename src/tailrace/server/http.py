"""The HTTP server: Granian on the running event loop, over a socket that is already listening."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from tailrace.server.asgi import Application, Message, Receive, Scope, Send

MAX_CONNECTIONS = 4096  # at the same time; further ones wait in the kernel
RESERVED_DESCRIPTORS = 256  # for files, and for connections that the server opens itself
MAX_DESCRIPTORS = 1_048_576
HEADER_TIMEOUT_MS = 30_000
RETIRE_S = 2.0  # in which clients with open connections learn that these end, once the certificate is renewed


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


class _Retirable:
    """An application for one worker of Granian; once it is retiring, each answer ends its connection."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.is_retiring = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        def send_last(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and self.is_retiring:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            return send(message)

        await self.application(scope, receive, send_last)


class HttpServer(Server):
    """Serves one application on one listening socket, in this process and on this event loop.

    `serve()` returns after `stop()`, once the requests in flight are answered.
    """

    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        *,
        backlog: int,
        connections: int,
        files: tuple[Path, Path] | None = None,
    ) -> None:
        """Serve TLS with the `files` of a certificate and its key, if given, which must have been tried."""
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
        self._stopping = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()  # which end workers of Granian
        if files is not None:
            self._use(files)
            self.target: Any = _Retirable(application)

    def renew(self, files: tuple[Path, Path]) -> None:
        """Use another certificate for the connections from now on.

        Those that are open end with their next answer, which tells the client; what is idle is closed after RETIRE_S.
        """
        self._use(files)
        if not self.wrks or self.interrupt_signal:
            return
        # Both listen for a while, so that no connection is refused; each closes a descriptor of its own.
        self._init_shared_socket()
        self.target.is_retiring = True
        self.target = _Retirable(self.target.application)
        retired = self.wrks.pop()
        renewed: Any = self._spawn_worker(0, self._spawn_asgi_worker, self.target)
        renewed.start()
        self.wrks.append(renewed)
        task = asyncio.create_task(self._retire(retired))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, worker: Any) -> None:
        """End a worker of Granian, once few clients have connections to it; what is in flight is answered."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), RETIRE_S)
        worker.terminate()
        await worker.join()

    def stop(self) -> None:
        """Take no more connections, and have `serve` return once what is in flight is answered."""
        self._listener.close()
        self._stopping.set()
        super().stop()  # type: ignore[no-untyped-call]

    async def _stop_workers(self) -> None:
        await super()._stop_workers()  # type: ignore[no-untyped-call]
        if self._retiring:
            await asyncio.wait(self._retiring)

    def _use(self, files: tuple[Path, Path]) -> None:
        certificate, key = map(str, files)
        self.ssl_ctx: Any = (True, certificate, key, None, str(SSLProtocols.tls12), None, [], False)

    def _init_shared_socket(self) -> None:
        # Granian would bind the address itself, so that a second server could share it. It closes this socket.
        descriptor = self._listener.dup().detach() if self.ssl_ctx[0] else self._listener.detach()
        self._shd: Any = SocketHolder(descriptor, False, self.backlog)  # type: ignore[call-arg]
        self._sfd: Any = self._shd.get_fd()
