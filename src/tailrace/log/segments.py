"""Segment files: their names and header, writing one, and reading one even where it is damaged.

A segment is named `{first_position:020d}.seg` and holds frames of rising positions, none below the one in its
name. It starts with a header of 24 bytes, little endian: `TAILRACE`, format version (uint32), first position
(int64), CRC32C of the 20 bytes before (uint32). The version is that of its frames' format: KEYED_FORMAT where any may
have idempotency keys, so that a version of Tailrace that does not know them refuses to start, else FORMAT.

The positions of a segment continue in the next one. Where some are unused (after a torn or failed write), an empty
segment comes between: the positions from its name to the next name are not missing.
"""

import errno
import logging
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import google_crc32c
from msgspec import Struct

from tailrace.events import TailraceError
from tailrace.log import frames
from tailrace.log.frames import FORMAT, HEADER_BYTES, KEYED_FORMAT, MAGIC, Buffer, Header

FILE_MAGIC = b"TAILRACE"
FILE_HEADER = struct.Struct("<8sIqI")
SUFFIX = ".seg"

WINDOW_BYTES = 1024 * 1024  # read at a time; a larger frame is read whole
PAGE_BYTES = 4096  # skipped around a position that the disk cannot read
IOV_MAX = os.sysconf("SC_IOV_MAX")

logger = logging.getLogger(__name__)


class LogVersionError(TailraceError):
    """A segment was written by a newer version, in a format that this one cannot read."""

    code = "unsupported_log_version"


class FileCalls(Struct, frozen=True):
    """The system calls whose failures the log's durability depends on."""

    pwritev: Callable[[int, Sequence[Buffer], int], int] = os.pwritev
    preadv: Callable[[int, Sequence[memoryview], int], int] = os.preadv
    fdatasync: Callable[[int], None] = os.fdatasync  # after each group of frames
    fsync: Callable[[int], None] = os.fsync  # after a file was made, cut or deleted
    ftruncate: Callable[[int, int], None] = os.ftruncate


class Damage(Struct, frozen=True):
    """A range of a segment without a valid frame, or missing segments."""

    segment: str  # file name; of missing segments, the next one's
    offset_bytes: int
    length: int  # bytes
    reason: str
    missing_positions: int = 0  # before the segment


def gap(expected: int, following: "SegmentFile") -> Damage:
    """Return the missing positions before a segment that does not begin with the expected one."""
    last = following.first_position - 1
    reason = f"positions {expected} to {last} are missing: a segment file was deleted or lost"
    return Damage(following.path.name, 0, 0, reason, missing_positions=last - expected + 1)


class Frame(Struct, frozen=True, eq=False):
    """A valid frame in a segment."""

    header: Header
    payload: memoryview  # only until the next frame is asked for
    end_bytes: int  # where it ends in the file


class SegmentFile(Struct, frozen=True):
    """A segment on disk."""

    path: Path
    first_position: int
    end_bytes: int  # where its last durable frame ends
    format_version: int = FORMAT  # as its header says; of a closed one not known


class Recovery(Struct, frozen=True):
    """The content of a segment that may have been written to when the process ended."""

    last_position: int  # of its last valid frame, 0 without one
    end_bytes: int  # where that frame ends, or the file header without one
    file_bytes: int
    damage: tuple[Damage, ...]  # before that end
    torn_reason: str  # why the bytes after that end are no frame; "" when there are none
    header_sound: bool
    format_version: int  # as the header says, FORMAT where that is not sound

    @property
    def torn_bytes(self) -> int:
        """The number of bytes after that end."""
        return max(0, self.file_bytes - self.end_bytes)


def segment_path(directory: Path, first_position: int) -> Path:
    return directory / f"{first_position:020d}{SUFFIX}"


def list_segments(directory: Path) -> list[SegmentFile]:
    """Return the segments of a directory, oldest first; other files are left alone."""
    files = []
    for path in directory.glob(f"*{SUFFIX}"):
        if len(path.stem) == 20 and path.stem.isascii() and path.stem.isdigit():
            with suppress(FileNotFoundError):  # of one that is released meanwhile
                files.append(SegmentFile(path, int(path.stem), path.stat().st_size))
    return sorted(files, key=lambda segment: segment.first_position)


def create_segment(
    directory: Path, first_position: int, calls: FileCalls, *, version: int = FORMAT
) -> tuple[SegmentFile, int]:
    """Create an empty segment, durable with its name; return it and its descriptor, open for writing."""
    path = segment_path(directory, first_position)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        write_file_header(fd, first_position, calls, version=version)
        sync_directory(directory, calls)
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return SegmentFile(path, first_position, FILE_HEADER.size, version), fd


def write_file_header(fd: int, first_position: int, calls: FileCalls, *, version: int = FORMAT) -> None:
    """Write the header and make it durable."""
    write_all(fd, [file_header(first_position, version)], 0, calls)
    calls.fsync(fd)


def file_header(first_position: int, version: int) -> bytes:
    """Return the header of a segment."""
    fields = struct.pack("<8sIq", FILE_MAGIC, version, first_position)
    return fields + struct.pack("<I", google_crc32c.value(fields))


def sync_directory(directory: Path, calls: FileCalls) -> None:
    """Flush the names in a directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path, calls: FileCalls) -> None:
    """Create a directory and its missing parents, durable with their names."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        try:
            sync_directory(path.parent, calls)
        except BaseException:
            path.rmdir()  # its name may be lost: the next attempt creates it again
            raise


def write_all(fd: int, buffers: Sequence[Buffer], offset: int, calls: FileCalls) -> int:
    """Write buffers in order from an offset, in as few calls as possible; return the offset of the end."""
    pending = list(buffers)
    first = 0
    while first < len(pending):
        wrote = calls.pwritev(fd, pending[first : first + IOV_MAX], offset)
        if wrote <= 0:
            raise OSError(errno.EIO, "nothing was written")
        offset += wrote
        while first < len(pending) and wrote >= len(pending[first]):
            wrote -= len(pending[first])
            first += 1
        if wrote:
            pending[first] = memoryview(pending[first])[wrote:]
    return offset


class Window:
    """A window over a file, which is read as needed. Bytes that the disk cannot read are zeros."""

    def __init__(self, path: Path, end: int, calls: FileCalls) -> None:
        self.path = path
        self.end = end
        self._calls = calls
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._start = 0
        self._length = 0  # bytes of the file in the buffer
        self.buffer = bytearray()

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    def load(self, offset: int, length: int) -> int:
        """Read a range of the file, which must end by `end`, into the buffer; return its index there."""
        if offset < self._start or offset + length > self._start + self._length:
            self._fill(offset, min(max(length, WINDOW_BYTES), self.end - offset))
        return offset - self._start

    def header(self, offset: int) -> Header | None:
        """Return the header of the frame at an offset; None when there is no valid one."""
        if offset + HEADER_BYTES > self.end:
            return None
        return frames.read_header(self.buffer, self.load(offset, HEADER_BYTES))

    def payload(self, offset: int, header: Header) -> memoryview | None:
        """Return the payload of the frame at an offset, valid until the window moves; None when it is not complete and
        sound.
        """
        if offset + HEADER_BYTES + header.payload_bytes > self.end:
            return None
        index = self.load(offset, HEADER_BYTES + header.payload_bytes) + HEADER_BYTES
        if frames.crc32c(self.buffer, index, header.payload_bytes) != header.payload_crc:
            return None
        return memoryview(self.buffer)[index : index + header.payload_bytes]

    def find(self, needle: bytes, offset: int) -> int:
        """Return the next offset of some bytes, at or after an offset; -1 when there is none."""
        while offset + len(needle) <= self.end:
            index = self.load(offset, len(needle))
            at = self.buffer.find(needle, index, self._length)
            if at >= 0:
                return self._start + at
            # The needle may begin in the last bytes of the buffer.
            offset = self._start + self._length - len(needle) + 1
        return -1

    def _fill(self, offset: int, length: int) -> None:
        if len(self.buffer) < length:
            self.buffer = bytearray(length)
        self._start, self._length = offset, length
        view = memoryview(self.buffer)
        done = 0
        while done < length:
            try:
                read = self._calls.preadv(self._fd, [view[done:length]], offset + done)
                missing = 0 if read else length - done
            except OSError as error:
                logger.error("%s cannot be read at byte %d: %s", self.path, offset + done, error)
                read = 0
                missing = min(PAGE_BYTES - (offset + done) % PAGE_BYTES, length - done)
            done += read
            view[done : done + missing] = bytes(missing)
            done += missing


def scan(window: Window, start: int, *, first_position: int, from_position: int = 0) -> Iterator[Frame | Damage]:
    """Yield the frames of a segment in order, and the damage between them.

    Frames before `from_position` are skipped without reading their payload. After an invalid frame the next valid one
    is found by the length in its header, if that is valid, else by searching for the magic of the next.
    """
    offset = start
    min_position = first_position
    while offset < window.end:
        header = window.header(offset)
        if header is not None and header.position >= min_position:
            end = offset + HEADER_BYTES + header.payload_bytes
            if header.position < from_position and end <= window.end:
                min_position = header.position + 1
                offset = end
                continue
            payload = window.payload(offset, header)
            if payload is not None:
                min_position = header.position + 1
                offset = end
                yield Frame(header, payload, end)
                continue
        reason = _damage_reason(window, offset, header, min_position)
        end = _next_frame(window, offset, header, min_position)
        yield Damage(window.path.name, offset, end - offset, reason)
        offset = end


def _damage_reason(window: Window, offset: int, header: Header | None, min_position: int) -> str:
    if header is None:
        return "no sound frame header"
    if header.position < min_position:
        return f"position {header.position} where {min_position} or more was due"
    if offset + HEADER_BYTES + header.payload_bytes > window.end:
        return f"frame runs past the end (position {header.position}, {header.count} events)"
    return f"payload does not match its CRC32C (position {header.position}, {header.count} events)"


def _next_frame(window: Window, bad: int, header: Header | None, min_position: int) -> int:
    if header is not None:
        end = bad + HEADER_BYTES + header.payload_bytes
        if end == window.end or window.header(end) is not None:
            return end
    offset = bad
    while (offset := window.find(MAGIC, offset + 1)) >= 0:
        header = window.header(offset)
        if header is not None and header.position >= min_position and window.payload(offset, header) is not None:
            return offset
    return window.end


def file_header_fault(window: Window) -> str:
    """Return what is wrong with the header of a segment, "" when it is valid.

    Raise LogVersionError when it is valid but of an unknown format.
    """
    if window.end < FILE_HEADER.size:
        return "the file header is incomplete"
    index = window.load(0, FILE_HEADER.size)
    magic, version, _, crc = FILE_HEADER.unpack_from(window.buffer, index)
    if magic != FILE_MAGIC or crc != frames.crc32c(window.buffer, index, FILE_HEADER.size - 4):
        return "no sound file header"
    if not FORMAT <= version <= KEYED_FORMAT:
        raise LogVersionError(
            f"{window.path} is in log format {version}, this version reads {FORMAT} to {KEYED_FORMAT}: "
            "use the version that wrote it"
        )
    return ""


def _format_version(window: Window) -> int:
    """Return the version of the format that a valid header says."""
    version: int = FILE_HEADER.unpack_from(window.buffer, window.load(0, FILE_HEADER.size))[1]
    return version


def recover(segment: SegmentFile, calls: FileCalls) -> Recovery:
    """Read a whole segment; return where its last valid frame ends, and the damage before that."""
    damage: list[Damage] = []
    trailing: list[Damage] = []  # with no valid frame after it so far
    last_position = 0
    with Window(segment.path, segment.end_bytes, calls) as window:
        fault = file_header_fault(window)
        version = FORMAT if fault else _format_version(window)
        end = FILE_HEADER.size
        for stretch in scan(window, end, first_position=segment.first_position):
            if isinstance(stretch, Damage):
                trailing.append(stretch)
                continue
            damage += trailing
            trailing.clear()
            last_position, end = stretch.header.position, stretch.end_bytes
    if fault and last_position:
        damage.insert(0, Damage(segment.path.name, 0, FILE_HEADER.size, fault))
    return Recovery(
        last_position=last_position,
        end_bytes=end,
        file_bytes=segment.end_bytes,
        damage=tuple(damage),
        torn_reason=trailing[0].reason if trailing else "",
        header_sound=not fault,
        format_version=version,
    )
