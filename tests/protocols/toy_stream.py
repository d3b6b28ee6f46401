"""A door for streams of the tests: a line is an event for the door's dataset, and `ok` answers each piece of them."""

from collections.abc import Sequence
from functools import partial

from tailrace.events import BadRequest, TailraceError
from tailrace.parsing import Limits
from tailrace.protocols.stream import Origin, StreamBatch, StreamDoor, StreamOptions

BAD = b"rubbish"
MAX_LINE_BYTES = 1000


class LinesSession:
    """Lines of a connection; `bad` is an event that is refused, `other:` names another dataset."""

    def __init__(self, options: StreamOptions, limits: Limits, origin: Origin) -> None:
        self.fault: TailraceError | None = None
        self._left = b""

    @property
    def pending_bytes(self) -> int:
        """The bytes of a line that is not whole."""
        return len(self._left)

    def open(self) -> bytes:
        """Return the greeting."""
        return b"lines\n"

    def split(self, data: bytes) -> list[bytes]:
        """Return the lines before the first that is rubbish."""
        *lines, self._left = (self._left + data).split(b"\n")
        if BAD in lines:
            self.fault = BadRequest("this is rubbish")
            return lines[: lines.index(BAD)]
        return lines

    def end(self) -> list[bytes]:
        """Return a line without its end."""
        return [self._left] if self._left else []

    def read(self, frames: Sequence[bytes], batch: StreamBatch) -> None:
        """Add lines to a batch, which is to be answered."""
        for frame in frames:
            add(frame, batch)
        batch.reply = b"ok\n"


class LinesReader:
    """Lines of datagrams."""

    def __init__(self, options: StreamOptions, limits: Limits) -> None:
        pass

    def read(self, datagrams: Sequence[tuple[bytes, Origin]], batch: StreamBatch, now_s: float) -> None:
        """Add lines to a batch."""
        for datagram, _ in datagrams:
            add(datagram, batch)


def add(line: bytes, batch: StreamBatch) -> None:
    """Add a line to a batch."""
    text = line.decode()
    if text == "bad":
        batch.refuse("the line is bad")
    elif text.startswith("other:"):
        batch.add({"line": text}, dataset="other")
    elif text.startswith("token:"):
        batch.add({"line": text}, token="no-such")
    else:
        batch.add({"line": text})


TOY_STREAM = StreamDoor(
    name="toy",
    title="Toy",
    options=StreamOptions,
    sessions=lambda options, limits: partial(LinesSession, options, limits),
    reader=LinesReader,
    echo=b"\0",
)
