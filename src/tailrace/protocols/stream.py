"""What a door for connections and datagrams is: bytes in, events and replies out, without any I/O of its own."""

import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from tailrace.events import ParsedBatch, Rejection, TailraceError, TooLarge
from tailrace.events.secrets import WithSecrets
from tailrace.parsing import EventCollector, Limits


class StreamOptions(WithSecrets, frozen=True):
    """Where a door listens, with whose rights, and into which dataset its events go."""

    tcp_port: Annotated[int, Meta(ge=0, le=65535, description="TCP port of this door; 0 leaves it closed.")] = 0
    tls_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="TCP port of this door where TLS is spoken, with stream_tls_certificate; 0 leaves it closed.",
        ),
    ] = 0
    udp_port: Annotated[int, Meta(ge=0, le=65535, description="UDP port of this door; 0 leaves it closed.")] = 0
    dataset: Annotated[
        str,
        Meta(
            description="Dataset of its events that name none; if empty, the token's default, or the only one that the "
            "token may send to."
        ),
    ] = ""
    token: Annotated[
        str,
        Meta(
            description="Token whose rights decide for what comes through this door without a token of its own.",
            extra={"secret": "a token of the API, xaat-… or xapt-…"},
        ),
    ] = ""


class Origin(Struct, frozen=True):
    """Whom bytes came from."""

    address: str  # IP address
    common_name: str = ""  # of the certificate that the client showed by TLS


class StreamPart(Struct, frozen=True, eq=False):
    """Events of one token and one dataset."""

    token: str  # empty: the door's
    dataset: str  # empty: the door's, or what the token says
    parsed: ParsedBatch
    key: bytes = b""  # what tells it from all but its repetitions, where it has such


class StreamBatch:
    """The events that were read of a connection, or of datagrams, at once, and what is to be replied.

    `reply` is sent once every event of the batch is durable, so that it may acknowledge them.
    """

    def __init__(self, limits: Limits, received_ns: int) -> None:
        self._limits = limits
        self.received_ns = received_ns  # ns since the Unix epoch
        self._collectors: dict[tuple[str, str], list[EventCollector]] = {}  # by token and key
        self._number = 0
        self._refused: list[Rejection] = []
        self.reply = b""

    def add(self, event: dict[str, Any], *, token: str = "", dataset: str = "", key: str = "") -> None:
        """Take an event, `_time` being its time as in `EventCollector`; one that cannot be stored is refused.

        What comes again with the same key is not stored again, also after a restart: the events of a key are always the
        same ones.
        """
        collectors = self._collectors.setdefault((token, key), [])
        number, self._number = self._number, self._number + 1
        if collectors:
            try:
                collectors[-1].add(dataset, number, event)
                return
            except TooLarge:  # what is too much for one batch goes into a next one
                pass
        collector = EventCollector(self._limits, self.received_ns)
        try:
            collector.add(dataset, number, event)
        except TooLarge as error:
            self.refuse(error.message, error.code)
        else:
            collectors.append(collector)

    def refuse(self, reason: str, code: str = "invalid_event") -> None:
        """Note a message that cannot be stored, and why."""
        self._refused.append(Rejection(self._number, reason, code))
        self._number += 1

    def parts(self) -> list[StreamPart]:
        """Return the events by token and dataset, under the limits of all events."""
        return [
            StreamPart(token, dataset, parsed, f"{number}:{key}".encode() if key else b"")
            for (token, key), collectors in self._collectors.items()
            for number, collector in enumerate(collectors)
            for dataset, parsed in collector.batches().items()
        ]

    def rejections(self) -> list[Rejection]:
        """Return what is in no part, each with the reason."""
        collectors = (collector for group in self._collectors.values() for collector in group)
        return [*self._refused, *(each for collector in collectors for each in collector.rejections)]


class StreamSession(typing.Protocol):
    """One connection, from its first byte to its last. Its methods are called one after the other."""

    @property
    def fault(self) -> TailraceError | None:
        """Why no more can be read, once `split` or `read` met what is none of the protocol: the connection ends."""
        ...

    @property
    def pending_bytes(self) -> int:
        """How many bytes of a frame that is not whole yet are held; 0 where the client need not send any more."""
        ...

    def open(self) -> bytes:
        """Return what the server says first."""
        ...

    def split(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the frames that are whole now, which do not depend on how the bytes came."""
        ...

    def end(self) -> list[bytes]:
        """Return the frames that the end of the connection makes whole."""
        ...

    def read(self, frames: Sequence[bytes], batch: StreamBatch) -> None:
        """Add the events of frames to a batch; called beside the event loop where they are many."""
        ...


class DatagramReader(typing.Protocol):
    """Reads all the datagrams of a port."""

    def read(self, datagrams: Sequence[tuple[bytes, Origin]], batch: StreamBatch, now_s: float) -> None:
        """Add the events of datagrams to a batch; `now_s` is of a clock that never goes back."""
        ...


def sent_bytes(limits: Limits, message: bytes) -> int:
    """Return the bytes of a message that is not compressed."""
    return len(message)


class StreamDoor(Struct, frozen=True):
    """A door for connections, for datagrams, or for both."""

    name: str
    title: str  # for people
    options: type[StreamOptions]
    sessions: Callable[[Any, Limits], Callable[[Origin], StreamSession]]  # of a port: what makes its connections'
    reader: Callable[[Any, Limits], DatagramReader] | None = None
    echo: bytes = b""  # a datagram that is sent back as it is
    decoded_bytes: Callable[[Limits, bytes], int] = sent_bytes  # of a frame or a datagram, at most
    check: Callable[[Any], str] = lambda options: ""  # what is wrong with its settings, in words
