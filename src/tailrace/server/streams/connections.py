"""Connections to a door by TCP or TLS: bounded in number and memory, read only as fast as their events are stored."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

from tailrace.events import BodyTimeout, Overloaded, TailraceError
from tailrace.protocols.stream import Origin, StreamBatch, StreamSession
from tailrace.server.request_body import MIN_BYTES_PER_S
from tailrace.server.streams.handshakes import TlsAcceptor
from tailrace.server.streams.store import StreamStore, total

READ_BYTES = 256 * 1024  # of a connection that wait to be read; with as many it is not read on
BATCH_FRAMES = 10_000  # messages that are stored together
GATHER_S = 0.003  # for which more bytes are waited for, so that they are stored together
RESUME_SHARE = 0.75  # of the most bytes of all connections, below which they are read again
MAX_REPLY_BACKLOG_BYTES = 256 * 1024  # replies that a client does not read, beyond which its connection is ended

logger = logging.getLogger(__name__)


class ReplyUnread(TailraceError):
    """The client does not read what is replied to it."""

    status = 400
    code = "answer_unread"


class StreamBacklog:
    """The bytes of all connections that are in memory and not stored yet. To be used on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._paused: set[Connection] = set()

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read."""
        return self.bytes > self._max_bytes

    def pause(self, connection: "Connection") -> None:
        """Have a connection read on once there is space."""
        self._paused.add(connection)

    def change(self, size: int) -> None:
        """Count bytes that came, or less than 0 for what was stored."""
        self.bytes += size
        if self._paused and self.bytes <= self._max_bytes * RESUME_SHARE:
            paused, self._paused = self._paused, set()
            for connection in paused:
                connection.resume()

    def forget(self, connection: "Connection") -> None:
        """Forget a connection that is gone."""
        self._paused.discard(connection)


class Connections:
    """The connections of one port."""

    def __init__(
        self,
        store: StreamStore,
        backlog: StreamBacklog,
        new_session: Callable[[Origin], StreamSession],
        *,
        most: int,
        idle_timeout_s: float,
        frame_timeout_s: float,
        decoded_bytes: Callable[[bytes], int],
        max_decoded_bytes: int,
    ) -> None:
        """`most` are open at a time; a frame that is not whole ends its connection after `frame_timeout_s`.

        Frames are stored together that have at most `max_decoded_bytes`, which `decoded_bytes` tells of each.
        """
        self.store = store
        self.backlog = backlog
        self.new_session = new_session
        self.idle_timeout_s = idle_timeout_s
        self.frame_timeout_s = frame_timeout_s
        self.decoded_bytes = decoded_bytes
        self.max_decoded_bytes = max_decoded_bytes
        self._most = most
        self._open: set[Connection] = set()
        self._tls: TlsAcceptor | None = None
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        return len(self._open) + (len(self._tls) if self._tls is not None else 0)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections."""
        new_connection = partial(Connection, self)
        if tls is None:
            self._server = await asyncio.get_running_loop().create_server(new_connection, sock=listener)
        else:
            self._tls = TlsAcceptor(tls, new_connection, may_open=self._may_open, refuse=self.store.refuse)
            self._tls.start(listener)

    async def stop(self) -> None:
        """Accept none any more, and return once what was read of those that are open is stored."""
        if self._server is not None:
            self._server.close()
        if self._tls is not None:
            self._tls.close()
        tasks = [connection.stop() for connection in list(self._open)]
        await asyncio.gather(*tasks, return_exceptions=True)

    def opened(self, connection: "Connection") -> bool:
        """Count a new connection; return whether it is not one too many."""
        if self._tls is None and not self._may_open(connection.origin.address):
            return False
        self._open.add(connection)
        return True

    def _may_open(self, address: str) -> bool:
        if len(self) < self._most:
            return True
        self.store.refuse(Overloaded(f"there are stream_max_connections = {self._most} already"), address)
        return False

    def groups(self, frames: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], int]]:
        """Yield the frames that are to be stored together, and how many bytes they may have once decoded."""
        start = size = 0
        for at, frame in enumerate(frames):
            more = self.decoded_bytes(frame)
            if at > start and (at - start == BATCH_FRAMES or size + more > self.max_decoded_bytes):
                yield frames[start:at], size
                start, size = at, 0
            size += more
        if frames:
            yield frames[start:], size

    def closed(self, connection: "Connection") -> None:
        """Count a connection no more, once all of it is stored."""
        self._open.discard(connection)
        self.backlog.forget(connection)


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self.origin = Origin("")
        self._transport: asyncio.Transport
        self._chunks: list[bytes] = []
        self._held_bytes = 0  # as the backlog counts them
        self._is_ended = False  # no more bytes come, or are wanted
        self._is_paused = False
        self._frame_began_s: float | None = None  # of the loop's clock: when a frame began that is not whole yet
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, as asyncio calls it; of TLS once the handshake is done."""
        self._transport = transport = cast(asyncio.Transport, transport)  # of which uvloop's is none by its type
        peer = transport.get_extra_info("peername")
        self.origin = Origin(peer[0] if peer else "", _common_name(transport))
        if not self._shared.opened(self):
            transport.abort()
            return
        kernel: socket.socket | None = transport.get_extra_info("socket")
        if kernel is not None:
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._task = asyncio.get_running_loop().create_task(self._run(transport))

    def data_received(self, data: bytes) -> None:
        """Take bytes, and stop reading where there are enough of them."""
        self._chunks.append(data)
        self._hold(len(data))
        if self._shared.backlog.is_full:
            self._shared.backlog.pause(self)
            self._pause()
        elif total(self._chunks) >= READ_BYTES:
            self._pause()
        self._wake_up()

    def eof_received(self) -> bool:
        """End the reading; a connection without TLS may still be replied to."""
        self._is_ended = True
        self._wake_up()
        return self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the reading."""
        self._is_ended = True
        self._wake_up()

    def stop(self) -> "asyncio.Task[None]":
        """Read no more; the task ends once what was read is stored."""
        assert self._task is not None
        self._pause()
        self._is_ended = True
        self._wake_up()
        return self._task

    def resume(self) -> None:
        """Read on, where there is space again."""
        if self._is_paused and self._can_read():
            self._is_paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._is_paused and self._can_read():
            self._is_paused = True
            self._transport.pause_reading()

    def _can_read(self) -> bool:
        return not self._is_ended and not self._transport.is_closing()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._shared.backlog.change(size)

    async def _run(self, transport: asyncio.Transport) -> None:
        session = self._shared.new_session(self.origin)
        try:
            self._reply(transport, session.open())
            goes_on = True
            while goes_on and session.fault is None and await self._receive(session):
                goes_on = await self._take(transport, session, session.split(await self._gather()))
            if goes_on and session.fault is None:
                await self._take(transport, session, session.end())
            if session.fault is not None:
                self._shared.store.refuse(session.fault, self.origin.address)
        except TailraceError as error:
            self._shared.store.refuse(error, self.origin.address)
        except Exception:
            logger.exception("a connection from %s failed", self.origin.address)
        finally:
            self._is_ended = True
            transport.close()
            self._chunks.clear()
            self._hold(-self._held_bytes)
            self._shared.closed(self)

    async def _receive(self, session: StreamSession) -> bool:
        """Return whether there are bytes to read, False at the end; raise BodyTimeout."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        deadline_s = now_s + self._shared.idle_timeout_s
        if session.pending_bytes:
            if self._frame_began_s is None:
                self._frame_began_s = now_s
            allowed_s = self._shared.frame_timeout_s + session.pending_bytes / MIN_BYTES_PER_S
            deadline_s = min(deadline_s, self._frame_began_s + allowed_s)
        while not self._chunks and not self._is_ended:
            if loop.time() >= deadline_s:
                what = "its message is not whole" if session.pending_bytes else "it sent nothing"
                raise BodyTimeout(f"the connection is ended, as {what} for {loop.time() - now_s:.0f} s")
            self._wake = loop.create_future()
            timer = loop.call_at(deadline_s, self._wake_up)
            try:
                await self._wake
            finally:
                timer.cancel()
        return bool(self._chunks)

    async def _gather(self) -> bytes:
        """Return the bytes that came, and those that come in a moment."""
        if not self._is_ended and not self._is_paused:
            await asyncio.sleep(GATHER_S)
        data = b"".join(self._chunks)
        self._chunks.clear()
        if not self._shared.backlog.is_full:
            self.resume()
        return data

    async def _take(self, transport: asyncio.Transport, session: StreamSession, frames: Sequence[bytes]) -> bool:
        """Store frames, and reply; return whether the connection goes on, as it does unless nothing can be stored."""
        if frames:
            self._frame_began_s = None
        for group, size in self._shared.groups(frames):
            read: Callable[[StreamBatch], None] = partial(session.read, group)
            stored = await self._shared.store.store(read, size, self.origin.address, sent=total(group))
            if stored.error is not None and (not stored.events or stored.error.retryable):
                return False
            self._reply(transport, stored.reply)
        # What is stored is not held any more.
        self._hold(session.pending_bytes + total(self._chunks) - self._held_bytes)
        return True

    def _reply(self, transport: asyncio.Transport, reply: bytes) -> None:
        if not reply or transport.is_closing():
            return
        transport.write(reply)
        if transport.get_write_buffer_size() > MAX_REPLY_BACKLOG_BYTES:
            raise ReplyUnread("the client does not read what it is replied")


def _common_name(transport: asyncio.Transport) -> str:
    """Return the common name of the certificate that a client showed, empty where it showed none."""
    certificate = transport.get_extra_info("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    return str(names[-1]) if names else ""
