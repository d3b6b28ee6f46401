"""Doors for streams over an ingest service in the process of the test, on free ports."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct, field

from support.ingest import Parts, open_service
from tailrace.events.outcome import Refusal
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.protocols.stream import StreamDoor, StreamOptions
from tailrace.server.streams.listeners import StreamContext, StreamListeners
from tailrace.server.streams.settings import StreamLimits
from tailrace.server.streams.sockets import DoorSocket, Transport

HOST = "127.0.0.1"


class OpenDoor(Struct):
    """A door that is open over a service."""

    parts: Parts
    listeners: StreamListeners
    ports: dict[Transport, int]
    refusals: list[Refusal] = field(default_factory=list)

    async def send(self, data: bytes, transport: Transport = "tcp") -> None:
        """Send bytes by a connection of its own, and return once the server has read and closed it."""
        reader, writer = await asyncio.open_connection(HOST, self.ports[transport])
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()

    async def rows(self, dataset: str) -> list[dict[str, object]]:
        """Return the events of a dataset."""
        return await asyncio.to_thread(self.parts.rows, dataset)

    def send_datagrams(self, *datagrams: bytes) -> None:
        """Send datagrams."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, (HOST, self.ports["udp"]))


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; AssertionError if it does not in half a minute."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 30 s")


@asynccontextmanager
async def open_door(
    directory: Path,
    door: StreamDoor,
    options: StreamOptions,
    transports: Sequence[Transport] = ("tcp",),
    *,
    limits: StreamLimits | None = None,
    tls: ssl.SSLContext | None = None,
    frame_timeout_s: float = 30.0,
) -> AsyncIterator[OpenDoor]:
    """Open a door on an empty directory, and close it in good order at the end."""
    async with open_service(directory) as parts:
        refusals: list[Refusal] = []
        hold = AnswerHold(parts.lake, max_wait_s=1, is_stopping=lambda: False)
        context = StreamContext(
            parts.service,
            limits or StreamLimits(),
            parts.metrics,
            hold,
            refusals.append,
            frame_timeout_s=frame_timeout_s,
            max_connections=(limits or StreamLimits()).max_connections,
        )
        sockets = [_bound(door, options, transport, tls) for transport in transports]
        listeners = StreamListeners(sockets, context)
        await listeners.start()
        ports = {each.transport: each.socket.getsockname()[1] for each in sockets}
        try:
            yield OpenDoor(parts, listeners, ports, refusals)
        finally:
            await listeners.stop(30)
            for each in sockets:
                each.socket.close()


def _bound(door: StreamDoor, options: StreamOptions, transport: Transport, tls: ssl.SSLContext | None) -> DoorSocket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    opened.bind((HOST, 0))
    if transport != "udp":
        opened.listen()
    opened.setblocking(False)
    return DoorSocket(door, options, transport, opened, tls if transport == "tls" else None)
