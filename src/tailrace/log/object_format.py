"""Log objects: segments that are put whole, with an index by dataset at their end.

    file header, frames   as of a segment; the frames of a dataset stand together
    index                 JSON: `session`, the random name of the process's log that put it, and `datasets`, for each
                          the offset of its frames and their length in bytes
    trailer               index bytes uint32, index CRC32C uint32, last position int64, CRC32C of the 16 bytes
                          before uint32, `TAILINDX`; little endian

An object is named by its first position. The next one of its writer is named by the position after its last, of which
the trailer tells; so the name that is due follows from the objects alone, and of two processes that both put an object
of that name, on the condition that there is none, one is refused. An object without frames uses its positions up.
"""

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePath

import google_crc32c
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.log import frames, segments
from tailrace.log.damage import FoundDamage
from tailrace.log.frames import FORMAT, Buffer, Payload
from tailrace.log.segments import FILE_HEADER, SUFFIX, Damage, Window

TRAILER_MAGIC = b"TAILINDX"
_TRAILER_FIELDS = struct.Struct("<IIq")
TRAILER = struct.Struct("<IIqI8s")
WRITER_DIRECTORY = "writer"  # of the writer without a name; those of others follow it
SESSION_DIGITS = 32  # hexadecimal
END_BYTES = 64 * 1024  # read of an object at first, to find its index: of about a thousand datasets


class ObjectIndex(Struct, frozen=True):
    """Where the frames of each dataset stand in an object, as (offset, bytes)."""

    session: str
    datasets: dict[str, tuple[int, int]]


class ObjectEnd(Struct, frozen=True):
    """The end of an object, behind its frames."""

    index: ObjectIndex
    last_position: int
    frames_end: int  # offset


class LogObject(Struct, frozen=True):
    """An object of a log."""

    name: str
    first_position: int
    size_bytes: int
    modified_at: datetime | None = None  # by the store's clock; of one that was there when the log was opened

    @property
    def file_name(self) -> str:
        """The last part of its name."""
        return PurePath(self.name).name

    @property
    def is_empty(self) -> bool:
        """Whether it has no batches, and only uses positions up."""
        return self.size_bytes == EMPTY_BYTES


def directory_of(writer: str) -> str:
    """Return the directory of a writer's objects."""
    return f"{WRITER_DIRECTORY}-{writer}" if writer else WRITER_DIRECTORY


def writer_of(directory: str) -> str | None:
    """Return whose objects are in a directory; None where it is no writer's."""
    first, _, writer = directory.partition("-")
    return writer if first == WRITER_DIRECTORY else None


def object_name(directory: str, first_position: int) -> str:
    """Return the name of the object whose first position this is."""
    return f"{directory}/{first_position:020d}{SUFFIX}"


def first_position_of(name: str) -> int | None:
    """Return the first position of an object by its name, None for one that is none of a log."""
    stem = PurePath(name).stem
    is_one = name.endswith(SUFFIX) and len(stem) == 20 and stem.isascii() and stem.isdigit()
    return int(stem) if is_one else None


def encode_object(
    payloads: Sequence[tuple[str, Payload]], *, first_position: int, last_position: int, session: str
) -> bytes:
    """Return an object of batches, given with their datasets, by which they are sorted.

    Without batches it uses up the positions up to the last one.
    """
    version = max((payload.format_version for _, payload in payloads), default=FORMAT)
    buffers: list[Buffer] = [segments.file_header(first_position, version)]
    datasets: dict[str, tuple[int, int]] = {}
    end = FILE_HEADER.size
    for position, (dataset, payload) in enumerate(payloads, first_position):
        buffers += frames.encode(payload, position)
        start, length = datasets.get(dataset, (end, 0))
        datasets[dataset] = (start, length + payload.frame_bytes)
        end += payload.frame_bytes
    index = msgspec.json.encode(ObjectIndex(session, datasets))
    fields = _TRAILER_FIELDS.pack(len(index), google_crc32c.value(index), last_position)
    trailer = fields + struct.pack("<I", google_crc32c.value(fields)) + TRAILER_MAGIC
    return b"".join([*buffers, index, trailer])


def needed_end_bytes(end: bytes) -> int:
    """Return how much of the end of an object has its index, by its last bytes; 0 where they are damaged."""
    if len(end) < TRAILER.size:
        return 0
    index_bytes, _, _, crc, magic = TRAILER.unpack_from(end, len(end) - TRAILER.size)
    fields = end[-TRAILER.size : -TRAILER.size + _TRAILER_FIELDS.size]
    if magic != TRAILER_MAGIC or crc != google_crc32c.value(fields):
        return 0
    return TRAILER.size + int(index_bytes)


def read_object_end(end: bytes, size_bytes: int) -> ObjectEnd | None:
    """Return the end of an object of a size, by at least the last bytes that it needs; None where it is damaged."""
    needed = needed_end_bytes(end)
    if not needed or needed > len(end):
        return None
    _, index_crc, last_position, _, _ = TRAILER.unpack_from(end, len(end) - TRAILER.size)
    index = end[len(end) - needed : len(end) - TRAILER.size]
    if index_crc != google_crc32c.value(index):
        return None
    return ObjectEnd(msgspec.json.decode(index, type=ObjectIndex), last_position, size_bytes - needed)


EMPTY_BYTES = len(encode_object([], first_position=1, last_position=1, session="0" * SESSION_DIGITS))


class ObjectWindow(Window):
    """A window over a part of an object that is in memory."""

    def __init__(self, name: str, content: bytes, end: int) -> None:
        """Take what was read of an object, whose frames stand before `end`."""
        self.path = Path(name)  # of which the name is used alone
        self.end = end
        self.buffer = bytearray(content)
        self._start = 0
        self._length = len(content)

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing, as no file is open."""


def read_object(name: str, content: bytes, from_position: int, found: FoundDamage) -> Iterator[tuple[int, Batch]]:
    """Yield the batches of an object from a position on, in order; damage is skipped and added.

    Raise LogVersionError when a newer version wrote the object.
    """
    end = read_object_end(content, len(content))
    window = ObjectWindow(name, content, end.frames_end if end else len(content))
    if fault := segments.file_header_fault(window):
        found.add([Damage(window.path.name, 0, FILE_HEADER.size, fault)])
    yield from _batches(window, FILE_HEADER.size, 0, from_position, found)


def read_range(
    name: str, content: bytes, offset: int, from_position: int, found: FoundDamage
) -> Iterator[tuple[int, Batch]]:
    """Yield the batches of a range of an object, which stands at an offset of it; damage is skipped and added."""
    yield from _batches(ObjectWindow(name, content, len(content)), 0, offset, from_position, found)


def _batches(
    window: ObjectWindow, start: int, offset: int, from_position: int, found: FoundDamage
) -> Iterator[tuple[int, Batch]]:
    first_position = first_position_of(window.path.name) or 0
    for stretch in segments.scan(window, start, first_position=first_position, from_position=from_position):
        if isinstance(stretch, Damage):
            found.add([replace(stretch, offset_bytes=stretch.offset_bytes + offset)])
        else:
            yield stretch.header.position, frames.decode(stretch.header, stretch.payload)
