"""Requests that a worker passes on to the main process, message by message, as ASGI has them."""

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.workers.frames import (
    RELAY,
    Begin,
    DatasetAnswered,
    DatasetAsked,
    Frames,
    Gone,
    Head,
    Part,
    RelayFrame,
    Wanted,
)

MAX_IDLE = 32  # connections that a worker keeps for later requests
BACKLOG = 1024
CONNECT_AGAIN_S = 0.01

logger = logging.getLogger(__name__)

KnownDataset = Callable[[str], DatasetAnswered]


class MainGone(ConnectionError):
    """The main process does not answer: it has ended, and its workers are to end."""


class Relay:
    """The worker's side: an ASGI application that has the main process answer. To be used on the event loop."""

    def __init__(self, directory: Path, name: str) -> None:
        """Take the directory and the name of the socket that `listening` has opened there."""
        self._directory = directory
        self._name = name
        self._idle: list[Frames[RelayFrame]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back. Raise MainGone."""
        frames = await self._connection()
        receiving: asyncio.Task[bool] | None = None
        try:
            frames.put(_begin(scope))
            while True:
                frame = await frames.read()
                if isinstance(frame, Part):
                    await send({"type": "http.response.body", "body": frame.body, "more_body": frame.more})
                    if not frame.more:
                        break
                elif isinstance(frame, Head):
                    await send({"type": "http.response.start", "status": frame.status, "headers": frame.headers})
                elif isinstance(frame, Wanted):
                    # Beside the answer, whose parts may come while the client is watched.
                    receiving = asyncio.create_task(_pass_message(receive, frames))
                elif receiving is not None and receiving.done() and receiving.result():
                    frames.close()
                    return  # the client had hung up, and the answer was given up
                else:
                    raise MainGone("the main process does not answer")
        except BaseException:
            frames.close()
            raise
        else:
            self._keep(frames)
        finally:
            if receiving is not None:
                receiving.cancel()

    async def dataset(self, name: str) -> DatasetAnswered:
        """Return what the main process knows of a dataset. Raise MainGone."""
        frames = await self._connection()
        frames.put(DatasetAsked(name))
        answer = await frames.read()
        if not isinstance(answer, DatasetAnswered):
            frames.close()
            raise MainGone("the main process does not answer")
        self._keep(frames)
        return answer

    async def _connection(self) -> Frames[RelayFrame]:
        if self._idle:
            return self._idle.pop()
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        try:
            await self._connect(connection)
            return Frames(RELAY, *await asyncio.open_unix_connection(sock=connection))
        except BaseException:
            connection.close()
            raise

    async def _connect(self, connection: socket.socket) -> None:
        with _reachable(self._directory, self._name) as path:
            while True:
                try:
                    await asyncio.get_running_loop().sock_connect(connection, path)
                    return
                except BlockingIOError:  # more wait to be accepted than may
                    await asyncio.sleep(CONNECT_AGAIN_S)
                except (FileNotFoundError, ConnectionError) as error:
                    raise MainGone("the main process does not answer") from error

    def _keep(self, frames: Frames[RelayFrame]) -> None:
        if len(self._idle) < MAX_IDLE:
            self._idle.append(frames)
        else:
            frames.close()


async def _pass_message(receive: Receive, frames: Frames[RelayFrame]) -> bool:
    """Send the next message of a request on; return whether it was that the client has hung up."""
    message = await receive()
    is_gone: bool = message["type"] != "http.request"
    frames.put(Gone() if is_gone else Part(message.get("body", b""), bool(message.get("more_body"))))
    with contextlib.suppress(ConnectionError):  # which who reads the answer finds
        await frames.drain()
    return is_gone


def _begin(scope: Scope) -> Begin:
    host, port = scope["client"][:2]
    server, server_port = scope["server"][:2]
    return Begin(
        method=scope["method"],
        path=scope["path"],
        raw_path=scope["raw_path"],
        query_string=scope["query_string"],
        headers=list(scope["headers"]),
        client=(host, int(port)),
        server=(server, int(server_port)),
        scheme=scope["scheme"],
        http_version=scope["http_version"],
    )


class RelayServer:
    """The main process's side: answers the requests that workers pass on. To be used on the event loop."""

    def __init__(self, application: Application, dataset: KnownDataset) -> None:
        self._application = application
        self._dataset = dataset
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Begin to answer on a socket that listens."""
        self._server = await asyncio.start_unix_server(self._connected, sock=listener)

    async def close(self) -> None:
        """Take no more, and end the connections."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        frames: Frames[RelayFrame] = Frames(RELAY, reader, writer)
        exchange: _PassedRequest | None = None
        try:
            while (frame := await frames.read()) is not None:
                if isinstance(frame, Begin):
                    exchange = _PassedRequest(frames)
                    self._start(self._answer(frame, exchange))
                elif isinstance(frame, DatasetAsked):
                    frames.put(self._dataset(frame.name))
                elif exchange is not None:
                    exchange.deliver(frame)
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            if exchange is not None:
                exchange.close()
            frames.close()

    async def _answer(self, begin: Begin, exchange: "_PassedRequest") -> None:
        try:
            await self._application(_scope(begin), exchange.receive, exchange.send)
        finally:
            if not exchange.is_complete:
                exchange.close()  # which ends the connection: nothing else tells the worker

    def _start(self, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)


class _PassedRequest:
    """The messages of one request."""

    def __init__(self, frames: Frames[RelayFrame]) -> None:
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        self._is_asked = False  # for a message that has not come yet
        self._is_gone = False
        self._is_closed = False
        self.is_complete = False
        self._waiting: asyncio.Future[Message] | None = None
        self._arrived: deque[Message] = deque()  # that nobody waited for any more

    def receive(self) -> "asyncio.Future[Message]":
        """Return what becomes the next message of the request, as ASGI's `receive` does."""
        waiting = self._waiting = self._loop.create_future()
        if self._arrived:
            waiting.set_result(self._arrived.popleft())
        elif self._is_gone:
            waiting.set_result({"type": "http.disconnect"})
        elif not self._is_asked:
            self._is_asked = True
            self._frames.put(Wanted())
        return waiting

    def deliver(self, frame: RelayFrame) -> None:
        """Take what the worker sent on."""
        self._is_asked = False
        message: Message = {"type": "http.disconnect"}
        if isinstance(frame, Part):
            message = {"type": "http.request", "body": frame.body, "more_body": frame.more}
        else:
            self._is_gone = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(message)
        elif not self._is_gone:
            self._arrived.append(message)

    def close(self) -> None:
        """End the exchange and its connection."""
        self.deliver(Gone())
        self._is_closed = True
        self._frames.close()

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on, as ASGI's `send` does; nothing once the worker is gone."""
        if self._is_closed:
            return
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._frames.put(Head(message["status"], headers))
            return
        more = bool(message.get("more_body"))
        self._frames.put(Part(message.get("body", b""), more))
        self.is_complete = not more
        with contextlib.suppress(ConnectionError):  # which is found where its frames are read
            await self._frames.drain()


def _scope(begin: Begin) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": begin.http_version,
        "server": begin.server,
        "client": begin.client,
        "scheme": begin.scheme,
        "method": begin.method,
        "root_path": "",
        "path": begin.path,
        "raw_path": begin.raw_path,
        "query_string": begin.query_string,
        "headers": begin.headers,
        "extensions": {},
        "state": {},
    }


@contextlib.contextmanager
def relay_socket(directory: Path, name: str) -> Iterator[socket.socket]:
    """Open the socket that workers connect to, for this user alone; it is gone afterwards."""
    path = directory / name
    path.unlink(missing_ok=True)  # of a server that was killed
    with socket.socket(socket.AF_UNIX) as listener:
        with _reachable(directory, name) as reachable:
            listener.bind(reachable)
        path.chmod(0o600)  # before it listens, so that nobody else connects
        listener.listen(BACKLOG)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _reachable(directory: Path, name: str) -> Iterator[str]:
    """Yield a path of a file in a directory, short enough for a socket however long that of the directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
