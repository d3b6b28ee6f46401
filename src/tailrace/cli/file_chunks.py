"""The content of a file or a pipe in chunks: decompressed, as UTF-8, as soon as it can be read."""

import codecs
import gzip
import io
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from tailrace.cli.pieces import FLUSH

READ_BYTES = 1024 * 1024
READ_AHEAD = 4  # chunks
FLUSH_AFTER_S = 0.25  # without new input, what was read is sent
ZSTD_READ_BYTES = 16 * 1024  # compressed; decompressed it may be far more
GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
STDIN = Path("-")
# OSError: gzip's BadGzipFile, and a disk that cannot be read.
UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeError)


class Buffered(Protocol):
    """A stream that can be read as far as data is available."""

    def read1(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """Yield a file or standard input."""
    if file == STDIN:
        yield sys.stdin.buffer
        return
    with file.open("rb", buffering=0) as raw:  # unbuffered, so that a pipe returns what is available
        yield cast(BinaryIO, raw)


def read_chunks(raw: BinaryIO, suffix: str = "") -> Iterator[bytes]:
    """Yield what a file holds, decompressed when it begins as gzip or zstd, or its name has the suffix of either.

    Raise OSError, EOFError, zlib.error and zstandard.ZstdError for what is damaged or cut off.
    """
    head = b""
    while len(head) < len(ZSTD_MAGIC) and (more := raw.read(len(ZSTD_MAGIC) - len(head))):
        head += more
    rest = io.BufferedReader(_Rejoined(head, raw), READ_BYTES)
    if head.startswith(GZIP_MAGIC):
        suffix = ".gz"
    elif head.startswith(ZSTD_MAGIC):
        suffix = ".zst"
    match suffix.lower():
        case ".gz":
            yield from _chunks(gzip.GzipFile(fileobj=rest))
        case ".zst":
            yield from _zstd_chunks(rest)
        case _:
            yield from _chunks(rest)


def _chunks(stream: Buffered) -> Iterator[bytes]:
    while chunk := stream.read1(READ_BYTES):
        yield chunk


def _zstd_chunks(stream: Buffered) -> Iterator[bytes]:
    # Not stream_reader: it takes a truncated frame for the end of the file.
    frame = None
    while chunk := stream.read1(ZSTD_READ_BYTES):
        while chunk:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            if out := frame.decompress(chunk):
                yield out
            if not frame.eof:
                break
            chunk, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError("the compressed file ends too early")


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, from its beginning."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = len(buffer)
        part = self._head[:room] or _read_some(self._rest, room)
        self._head = self._head[room:]
        buffer[: len(part)] = part
        return len(part)


def _read_some(stream: BinaryIO, size: int) -> bytes:
    """Return what is available, at least one byte before the end."""
    read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    return read1(size)


def decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Convert text in another encoding to UTF-8; raise UnicodeError where it is invalid."""
    if codecs.lookup(encoding).name == "utf-8":
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


@contextmanager
def as_they_come(chunks: Iterator[bytes], stop: threading.Event) -> Iterator[Iterator[bytes]]:
    """Yield an iterator over the chunks, which a thread reads, and FLUSH after a pause; it ends when `stop` is set.

    Afterwards their source may be closed. The thread may still wait for a pipe then, and ends after that.
    """
    queue: Queue[bytes | Exception | None] = Queue(READ_AHEAD)
    left = threading.Event()

    def read() -> None:
        try:
            for chunk in chunks:
                if left.is_set():
                    break
                if chunk:
                    queue.put(chunk)
        except UNREADABLE as error:
            queue.put(error)
        except ValueError:  # raised of a closed file
            if not left.is_set():
                raise
        finally:
            queue.put(None)

    threading.Thread(target=read, daemon=True, name="read").start()
    try:
        yield _taken(queue, stop)
    finally:
        left.set()
        with suppress(Empty):  # makes room, so that the thread is not held up
            while True:
                queue.get_nowait()


def _taken(queue: Queue[bytes | Exception | None], stop: threading.Event) -> Iterator[bytes]:
    quiet = True
    while not stop.is_set():
        try:
            found = queue.get(timeout=FLUSH_AFTER_S)
        except Empty:
            if not quiet:
                quiet = True
                yield FLUSH
            continue
        if found is None:
            return
        if isinstance(found, Exception):
            raise found
        quiet = False
        yield found


def shown_name(file: Path) -> str:
    """Return the name of a file in messages."""
    return "standard input" if file == STDIN else str(file)
