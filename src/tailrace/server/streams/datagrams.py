"""Datagrams to a door by UDP: a bounded queue, and one task that stores what is in it."""

import asyncio
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from tailrace.protocols.stream import DatagramReader, Origin
from tailrace.server.metrics import Metrics
from tailrace.server.streams.store import StreamStore

OVERHEAD_BYTES = 256  # of each datagram in the queue
BATCH_BYTES = 512 * 1024  # of datagrams that are stored together
GATHER_S = 0.003  # for which more of them are waited for
SO_MEMINFO = 55  # of Linux, since 4.12: numbers of a socket's memory, SK_MEMINFO_*, as uint32
SK_MEMINFO_DROPS = 8  # the last of them: datagrams that the kernel dropped, as no more fitted into the buffer

logger = logging.getLogger(__name__)


class Datagrams(asyncio.DatagramProtocol):
    """The datagrams of one port. To be used on the event loop."""

    def __init__(
        self,
        store: StreamStore,
        reader: DatagramReader | None,
        metrics: Metrics,
        *,
        door: str,
        echo: bytes,
        max_bytes: int,
        decoded_bytes: Callable[[bytes], int],
    ) -> None:
        """At most `max_bytes` of datagrams wait; a datagram that is `echo` is sent back instead.

        `decoded_bytes` tells how many bytes a datagram may have once it is decoded.
        """
        self._store = store
        self._reader = reader
        self._metrics = metrics
        self._door = door
        self._echo = echo
        self._max_bytes = max_bytes
        self._decoded_bytes = decoded_bytes
        self._queue: deque[tuple[bytes, str]] = deque()
        self._bytes = 0
        self._is_ended = False
        self._came = asyncio.Event()
        self._transport: asyncio.DatagramTransport
        self._socket: socket.socket
        self._kernel_drops = 0  # counted so far
        self._task: asyncio.Task[None] | None = None

    async def start(self, bound: socket.socket) -> None:
        """Receive datagrams."""
        loop = asyncio.get_running_loop()
        self._socket = bound
        await loop.create_datagram_endpoint(lambda: self, sock=bound)
        self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        """Receive none any more, and return once those that wait are stored."""
        self._count_kernel_drops()
        self._transport.close()
        self._is_ended = True
        self._came.set()
        if self._task is not None:
            await self._task

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, as asyncio calls it."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Queue a datagram, or drop and count it where too many wait."""
        self._came.set()
        if self._echo and data == self._echo:
            self._transport.sendto(data, addr)
            return
        size = len(data) + OVERHEAD_BYTES
        if self._reader is None:
            self._metrics.count_dropped(self._door, "not_taken")
        elif self._bytes + size > self._max_bytes:
            self._metrics.count_dropped(self._door, "queue_full")
        else:
            self._bytes += size
            self._queue.append((data, addr[0]))

    def error_received(self, exc: Exception) -> None:
        """Note an error of the network, such as a reply that could not be delivered."""
        logger.debug("datagrams of %s: %s", self._door, exc)

    async def _run(self) -> None:
        while not self._is_ended or self._queue:
            await self._came.wait()
            if not self._is_ended:
                await asyncio.sleep(GATHER_S)
                self._came.clear()
                self._count_kernel_drops()  # after one there are datagrams to read, so that none is missed
            try:
                while self._queue:
                    await self._store_some()
            except Exception:
                logger.exception("datagrams of %s could not be stored", self._door)

    def _count_kernel_drops(self) -> None:
        """Count what the kernel dropped since the last time, because it came faster than it was read."""
        drops = kernel_drops(self._socket)
        self._metrics.count_dropped(self._door, "receive_buffer_full", (drops - self._kernel_drops) & 0xFFFFFFFF)
        self._kernel_drops = drops

    async def _store_some(self) -> None:
        assert self._reader is not None
        datagrams: list[tuple[bytes, Origin]] = []
        size = 0
        while self._queue and size < BATCH_BYTES:
            data, address = self._queue.popleft()
            datagrams.append((data, Origin(address)))
            size += len(data) + OVERHEAD_BYTES
        work = sum(self._decoded_bytes(data) for data, _ in datagrams)
        now_s = asyncio.get_running_loop().time()
        try:
            await self._store.store(partial(self._reader.read, datagrams, now_s=now_s), work, datagrams[0][1].address)
        finally:
            self._bytes -= size


def kernel_drops(bound: socket.socket) -> int:
    """Return how many datagrams to a socket the kernel dropped, modulo 2 ** 32; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    size = 4 * (SK_MEMINFO_DROPS + 1)
    try:
        numbers = bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, size)
    except OSError as error:  # of an older kernel
        logger.debug("datagrams that the kernel drops cannot be counted: %s", error)
        return 0
    return struct.unpack_from("I", numbers, 4 * SK_MEMINFO_DROPS)[0] if len(numbers) >= size else 0
