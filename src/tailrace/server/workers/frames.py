"""Messages between the main process and its workers: frames of MessagePack over sockets."""

import asyncio
import struct
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

_LENGTH = struct.Struct("<I")

T = TypeVar("T")


class Begin(Struct, frozen=True, tag=0, array_like=True):
    """The head of a request that a worker passes on, as ASGI has it."""

    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int]
    server: tuple[str, int]
    scheme: str
    http_version: str


class Wanted(Struct, frozen=True, tag=1, array_like=True):
    """The next message of the request is asked for."""


class Part(Struct, frozen=True, tag=2, array_like=True):
    """A part of a body, of the request or of the answer."""

    body: bytes
    more: bool


class Gone(Struct, frozen=True, tag=3, array_like=True):
    """The client has hung up."""


class Head(Struct, frozen=True, tag=4, array_like=True):
    """The head of the answer."""

    status: int
    headers: list[tuple[bytes, bytes]]


class DatasetAsked(Struct, frozen=True, tag=5, array_like=True):
    """What is known of a dataset is asked for."""

    name: str


class DatasetAnswered(Struct, frozen=True, tag=6, array_like=True):
    """What is known of the dataset that was asked for, as of a revision; nothing where it accepts no events."""

    revision: int
    created_ns: int = 0
    primary_key: str = ""
    organisation: str = ""


RelayFrame = Begin | Wanted | Part | Gone | Head | DatasetAsked | DatasetAnswered


class Opened(Struct, frozen=True, tag=0, array_like=True):
    """To a worker: its log may be opened; positions up to `floor` are used."""

    floor: int


class Released(Struct, frozen=True, tag=1, array_like=True):
    """To a worker: what is in its log up to a position is in tables."""

    position: int


class FiguresAsked(Struct, frozen=True, tag=2, array_like=True):
    """To a worker."""


class Stop(Struct, frozen=True, tag=3, array_like=True):
    """To a worker: it answers what is in flight, and ends."""


class Figures(Struct, frozen=True, tag=4, array_like=True):
    """Of a worker: its counters, pickled, and the state of its log."""

    metrics: bytes
    log_bytes: int
    held_answers: int
    answers_held: int
    answers_held_s: float


class Refused(Struct, frozen=True, tag=5, array_like=True):
    """Of a worker: a request that it refused, pickled."""

    refusal: bytes
    took_s: float


class LogFault(Struct, frozen=True, tag=6, array_like=True):
    """Of a worker: why its log takes nothing, empty where it does."""

    fault: str


class Serving(Struct, frozen=True, tag=7, array_like=True):
    """Of a worker: its log is open, and requests are accepted."""


class Reloaded(Struct, frozen=True, tag=8, array_like=True):
    """To a worker: settings that changed while it runs, by name, pickled; the files of a new certificate."""

    values: bytes
    certificate: str = ""
    key: str = ""


ControlFrame = Opened | Released | FiguresAsked | Stop | Figures | Refused | LogFault | Serving | Reloaded


class Frames(Generic[T]):
    """Frames of one union of types over a stream."""

    def __init__(
        self,
        decoder: "msgspec.msgpack.Decoder[T]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._decoder = decoder
        self._reader = reader
        self._writer = writer
        self._encoder = msgspec.msgpack.Encoder()

    def put(self, frame: T) -> None:
        """Queue a frame to be sent."""
        body = self._encoder.encode(frame)
        self._writer.writelines((_LENGTH.pack(len(body)), body))

    async def drain(self) -> None:
        """Return once what is queued is little. Raise ConnectionError."""
        await self._writer.drain()

    async def read(self) -> T | None:
        """Return the next frame, None where the other end is closed."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Close the stream."""
        self._writer.close()


RELAY = msgspec.msgpack.Decoder(RelayFrame)
CONTROL = msgspec.msgpack.Decoder(ControlFrame)
