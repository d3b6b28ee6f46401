"""All doors that are no HTTP: opened once the server takes events, closed before it ends."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from tailrace.events.outcome import Refusal
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.protocols.http import IngestService
from tailrace.server.metrics import Metrics
from tailrace.server.streams.connections import Connections, StreamBacklog
from tailrace.server.streams.datagrams import Datagrams
from tailrace.server.streams.settings import StreamLimits
from tailrace.server.streams.sockets import DoorSocket
from tailrace.server.streams.store import MAX_RETRY_AFTER_S, StreamStore

DESCRIPTORS_SHARE = 8  # of the process's descriptors, the connections of a port take at most one in so many
ALL_DESCRIPTORS_SHARE = 2  # and those of all ports

logger = logging.getLogger(__name__)


class StreamContext(Struct, frozen=True, eq=False):
    """What all listeners work with."""

    service: IngestService
    limits: StreamLimits
    metrics: Metrics
    hold: AnswerHold
    record: Callable[[Refusal], None]  # notes what was refused for the operator
    frame_timeout_s: float  # for a message to become whole
    max_connections: int  # of one port


class StreamListeners:
    """The listeners of the open doors. To be used on the event loop."""

    def __init__(self, sockets: Sequence[DoorSocket], context: StreamContext) -> None:
        backlog = StreamBacklog(context.limits.backlog_bytes)
        self._stores = [_store(opened, context) for opened in sockets]
        self._connections: list[tuple[DoorSocket, Connections]] = []
        self._datagrams: list[tuple[DoorSocket, Datagrams]] = []
        for opened, store in zip(sockets, self._stores, strict=True):
            if opened.transport == "udp":
                self._datagrams.append((opened, _datagrams(opened, store, context)))
            else:
                self._connections.append((opened, _connections(opened, store, backlog, context)))

    @property
    def shown(self) -> list[str]:
        """What is open, for people."""
        return [opened.shown for opened, _ in (*self._connections, *self._datagrams)]

    def connections(self) -> Mapping[tuple[str, str], int]:
        """Return how many connections are open, by door and transport."""
        return {(opened.door.name, opened.transport): len(listener) for opened, listener in self._connections}

    async def start(self) -> None:
        """Take connections and datagrams."""
        for opened, connections in self._connections:
            await connections.start(opened.socket, opened.tls)
        for opened, datagrams in self._datagrams:
            await datagrams.start(opened.socket)

    async def stop(self, grace_s: float) -> None:
        """Take nothing any more, and return once what was read is stored, or the time is over."""
        stops = [
            *(connections.stop() for _, connections in self._connections),
            *(datagrams.stop() for _, datagrams in self._datagrams),
        ]
        if not stops:
            return
        stopping = [asyncio.create_task(stop) for stop in stops]
        _, unfinished = await asyncio.wait(stopping, timeout=grace_s)
        if unfinished:
            for store in self._stores:
                store.give_up()
            _, unfinished = await asyncio.wait(unfinished, timeout=MAX_RETRY_AFTER_S + 1)
            logger.warning("what was read of some doors could not be stored within shutdown_grace_s = %g s", grace_s)


def port_connections(limits: StreamLimits, max_open_files: int, ports: int) -> int:
    """Return the most connections of one of so many ports, which are few where the process may have few descriptors."""
    share = max(DESCRIPTORS_SHARE, ALL_DESCRIPTORS_SHARE * ports)
    return max(1, min(limits.max_connections, max_open_files // share))


def _store(opened: DoorSocket, context: StreamContext) -> StreamStore:
    return StreamStore(
        context.service,
        context.metrics,
        context.hold,
        context.record,
        door=opened.door.name,
        transport=opened.transport,
        options=opened.options,
    )


def _connections(opened: DoorSocket, store: StreamStore, backlog: StreamBacklog, context: StreamContext) -> Connections:
    return Connections(
        store,
        backlog,
        opened.door.sessions(opened.options, context.service.limits),
        most=context.max_connections,
        idle_timeout_s=context.limits.idle_timeout_s,
        frame_timeout_s=context.frame_timeout_s,
        decoded_bytes=partial(opened.door.decoded_bytes, context.service.limits),
        max_decoded_bytes=context.service.limits.max_body_bytes,
    )


def _datagrams(opened: DoorSocket, store: StreamStore, context: StreamContext) -> Datagrams:
    reader = opened.door.reader
    return Datagrams(
        store,
        reader(opened.options, context.service.limits) if reader is not None else None,
        context.metrics,
        door=opened.door.name,
        echo=opened.door.echo,
        max_bytes=context.limits.datagram_backlog_bytes,
        decoded_bytes=partial(opened.door.decoded_bytes, context.service.limits),
    )
