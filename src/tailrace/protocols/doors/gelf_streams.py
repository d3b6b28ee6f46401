"""GELF by TCP and TLS, where NUL ends a message, and by UDP, where a message may be compressed and come in chunks."""

from collections.abc import Sequence
from functools import partial

from tailrace.events import BadRequest, TailraceError, TooLarge
from tailrace.parsing import Limits
from tailrace.protocols.doors.gelf_messages import CHUNK_MAGIC, GelfAssembler, decompressed, encoding_of, gelf_event
from tailrace.protocols.stream import Origin, StreamBatch, StreamDoor, StreamOptions

MAX_PENDING_BYTES = 16 * 1024 * 1024  # of messages some of whose chunks came


class GelfSession:
    """The messages of a connection, which are not compressed."""

    def __init__(self, limits: Limits, origin: Origin) -> None:
        self.fault: TailraceError | None = None
        self._max_bytes = limits.max_event_bytes
        self._left = bytearray()

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not whole."""
        return len(self._left)

    def open(self) -> bytes:
        """Return nothing: a server of GELF says nothing."""
        return b""

    def split(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the messages that are whole now."""
        if b"\0" in data:
            *frames, left = (bytes(self._left) + data).split(b"\0")
            self._left = bytearray(left)
        else:
            frames = []
            self._left += data
        if len(self._left) > self._max_bytes:
            self.fault = TooLarge(f"a message has more than max_event_bytes = {self._max_bytes} bytes")
        return frames

    def end(self) -> list[bytes]:
        """Return the message that the end of the connection ends."""
        return [bytes(self._left)]

    def read(self, frames: Sequence[bytes], batch: StreamBatch) -> None:
        """Add messages to a batch; white space alone is none."""
        for frame in frames:
            if frame.strip():
                _add(frame, batch)


class GelfDatagrams:
    """The messages of datagrams."""

    def __init__(self, options: StreamOptions, limits: Limits) -> None:
        self._max_bytes = limits.max_event_bytes
        self._max_batch_bytes = limits.max_body_bytes
        self._assembler = GelfAssembler(max_bytes=MAX_PENDING_BYTES)
        self._counted = 0  # of the messages that it dropped

    def read(self, datagrams: Sequence[tuple[bytes, Origin]], batch: StreamBatch, now_s: float) -> None:
        """Add messages to a batch; one whose chunks did not all come in time is refused.

        So are those with which all would have more than `max_body_bytes` decompressed, as bombs have and logs do not.
        """
        left = self._max_batch_bytes
        for datagram, origin in datagrams:
            try:
                message = self._assembler.add(datagram, origin.address, now_s)
                if message is None:
                    continue
                most = min(left, self._max_bytes)
                left -= most  # unless it is known to be less
                text = decompressed(message, most)
                left += most - len(text)
                _add(text, batch)
            except (BadRequest, TooLarge) as error:
                batch.refuse(error.message, error.code)
        for _ in range(self._assembler.dropped - self._counted):
            batch.refuse("not all chunks of a message came in time", "incomplete")
        self._counted = self._assembler.dropped


def decoded_bytes(limits: Limits, message: bytes) -> int:
    """Return how many bytes a message may have once it is decompressed, or the one that a chunk completes."""
    is_packed = message.startswith(CHUNK_MAGIC) or encoding_of(message)
    return limits.max_event_bytes if is_packed else len(message)


def _add(message: bytes, batch: StreamBatch) -> None:
    try:
        event = gelf_event(message)
    except BadRequest as error:
        batch.refuse(error.message, error.code)
    else:
        batch.add(event)


DOOR = StreamDoor(
    name="gelf",
    title="GELF",
    options=StreamOptions,
    sessions=lambda options, limits: partial(GelfSession, limits),
    reader=GelfDatagrams,
    decoded_bytes=decoded_bytes,
)
