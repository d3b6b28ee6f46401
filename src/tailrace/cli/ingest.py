"""`tailrace ingest`: send files of events, in pieces, and say what became of each."""

import codecs
import gzip
import io
import itertools
import re
import signal
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from types import FrameType
from typing import Annotated, Any, BinaryIO, Protocol, cast

import httpx
import msgspec
import typer
import zstandard
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tailrace.cli.client import (
    ServerChoice,
    is_loopback,
    json_of,
    message_of,
    quoted,
    refused,
    send_with_retries,
    server_command,
    unreachable,
)
from tailrace.cli.errors import FAILED, CommandError
from tailrace.cli.output import counted, printable
from tailrace.cli.pieces import FLUSH, BadFile, Format, Piece, format_of, is_log, parquet_pieces, pieces, sniffed

READ_BYTES = 1024 * 1024
READ_AHEAD = 4  # chunks
FLUSH_AFTER_S = 0.25  # without anything to read, what was read is sent
SNIFFED_BYTES = 64 * 1024  # of a log, to see its format
MAX_TOLD = 20  # refusals of a file that are listed
SIGNALLED = 128  # and the signal's number: exit code of what a signal ended, as shells have it
ENDING = (signal.SIGINT, signal.SIGTERM)  # of Ctrl-C, and of `timeout` and supervisors
ZSTD_READ_BYTES = 16 * 1024  # compressed: what comes out of it at once may be far more
GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
STDIN = Path("-")
# OSError: gzip's BadGzipFile, and a disk that cannot be read.
UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeError)
# Refusals of this one body; with any other, the next body would meet the same.
_BODY_REFUSED = frozenset({400, 413, 415, 422})
_FAILURE = re.compile(r"event (\d+): (.*)", re.DOTALL)


class Buffered(Protocol):
    """What can be read as far as it is there."""

    def read1(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""


class Failure(Struct, frozen=True):
    """Events that were refused: one, or all of a refused body."""

    place: str  # "event 5", "events 0 to 99": indexes within the file, from 0
    events: int
    reason: str


class AnswerFailure(Struct):
    """A refused event in the answer to an ingest request."""

    timestamp: str
    error: str


class Answer(Struct):
    """The part of the answer to an ingest request that is used here."""

    ingested: int
    failures: list[AnswerFailure]


class Outcome(Struct, frozen=True):
    """What became of one piece."""

    ingested: int
    failures: tuple[Failure, ...]

    @property
    def failed(self) -> int:
        """The number of events refused."""
        return sum(failure.events for failure in self.failures)


@server_command
def ingest(
    dataset: Annotated[str, typer.Argument(help="Dataset to send to.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files: .json, .ndjson, .jsonl, .csv, .parquet, .log, also gzip or zstd of them; - is standard input.",
        ),
    ],
    form: Annotated[
        Format | None, typer.Option("--format", help="What the files hold, instead of going by their names.")
    ] = None,
    timestamp_field: Annotated[
        str | None, typer.Option("--timestamp-field", help="Field that holds an event's time; default _time.")
    ] = None,
    timestamp_format: Annotated[
        str | None,
        typer.Option("--timestamp-format", help="Its layout, as Go's reference time: 2006-01-02 15:04:05."),
    ] = None,
    csv_delimiter: Annotated[str, typer.Option("--csv-delimiter", help="Delimiter of CSV.")] = ",",
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Encoding of text that is not UTF-8, such as latin-1.")
    ] = "utf-8",
    *,
    server: ServerChoice,
) -> None:
    """Send events from files, or from a pipe as they come.

    Refused events are listed on standard error, numbered from 0 within their file as in the server's answers.
    A file that cannot be read to its end is named there too. In both cases the exit code is 1.

    Ctrl-C ends the reading: what was read is sent, and the exit code is 130. So does SIGTERM, with 143.

    Examples:

      tailrace ingest web events.ndjson more.csv.gz

      tail -f access.log | tailrace ingest web --format combined -
    """
    if len(csv_delimiter) != 1 or not csv_delimiter.isascii() or csv_delimiter in '"\r\n':
        raise typer.BadParameter("it is one ASCII character", param_hint="--csv-delimiter")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise typer.BadParameter(f"there is no encoding {encoding!r}", param_hint="--encoding") from error
    for file in files:
        if file != STDIN and file.is_dir():
            raise typer.BadParameter(
                f"{file} is a directory: give its files, such as {file}/*.ndjson", param_hint="FILE"
            )
        if file != STDIN and not file.exists():
            raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    formats = [form or _format_by_name(file) for file in files]
    options = {
        "timestamp-field": timestamp_field,
        "timestamp-format": timestamp_format,
        "csv-delimiter": csv_delimiter if csv_delimiter != "," else None,
    }
    target = server.find()
    total = Totals()
    with server.connect() as client, _progress() as progress, _interruptible() as stop:
        sender = Sender(
            client,
            f"/v1/datasets/{quoted(dataset)}/ingest",
            {name: value for name, value in options.items() if value},
            compress=not is_loopback(target.url),
        )
        try:
            for file, held in zip(files, formats, strict=True):
                if stop.is_set():
                    total.unread += 1
                    continue
                task = progress.add_task(_named(file), total=_size(file), events=0)
                told = Told(progress.console, file)
                try:
                    with _opened(file) as raw:
                        for piece in _pieces(raw, file, held, csv_delimiter, encoding, stop, told):
                            outcome = sender.send(piece, told.events)
                            total.add(outcome)
                            told.outcome(piece, outcome)
                            progress.update(task, completed=_position(raw), events=told.events)
                except (BadFile, *UNREADABLE) as error:
                    total.broken += 1
                    told.broken(error)
                told.end()
        except CommandError as error:
            if total.ingested or total.failed or total.broken:
                raise CommandError(f"{error}; before that {total.summary()}") from error
            raise
    print(total.summary())
    if stop.is_set():
        raise typer.Exit(SIGNALLED + stop.number)
    if total.failed or total.broken:
        raise typer.Exit(FAILED)


class Totals(Struct):
    """What became of all files."""

    ingested: int = 0
    failed: int = 0
    broken: int = 0
    unread: int = 0

    def add(self, outcome: "Outcome") -> None:
        """Count a piece."""
        self.ingested += outcome.ingested
        self.failed += outcome.failed

    def summary(self) -> str:
        """Say it in a line."""
        parts = [f"ingested {counted(self.ingested, 'event')}", f"{self.failed} failed"]
        if self.broken:
            parts.append(f"{counted(self.broken, 'file')} not read to the end")
        if self.unread:
            parts.append(f"{counted(self.unread, 'file')} not begun")
        return ", ".join(parts)


class Told:
    """What is said of one file on standard error: a line for each refused event, of many the first."""

    def __init__(self, console: Console, file: Path) -> None:
        self._console = console
        self._name = _named(file)
        self._refusals = self._invalid = self._plain = 0
        self.events = 0  # that the file had so far

    def outcome(self, piece: Piece, outcome: "Outcome") -> None:
        """Tell of a piece that was sent."""
        self.events += outcome.ingested + outcome.failed
        self._plain += piece.unread
        for failure in outcome.failures:
            self._refusals += 1
            if self._refusals <= MAX_TOLD:
                self._say(f"{failure.place}: {failure.reason}")
        try:
            piece.body.decode()
        except UnicodeDecodeError:
            self._invalid += sum(1 for line in piece.body.split(b"\n") if not _is_utf8(line))

    def recognised(self, form: Format) -> None:
        """Tell for what a file was taken whose name does not say it."""
        self._say(f"taken for {form}; --format says otherwise")

    def broken(self, error: Exception) -> None:
        """Tell why the file was not read to its end."""
        part = f"not read beyond event {self.events - 1}" if self.events else "nothing of it was sent"
        self._say(f"{part}: {error}")

    def end(self) -> None:
        """Tell what holds for the file as a whole."""
        if self._refusals > MAX_TOLD:
            self._say(f"and {self._refusals - MAX_TOLD} more refusals")
        if self._plain:
            self._say(f"{counted(self._plain, 'line')} not in the format, sent with the whole line as message")
        if self._invalid:
            self._say(
                f"{counted(self._invalid, 'line')} with bytes that are not UTF-8, which are lost: "
                "give --encoding, such as latin-1"
            )

    def _say(self, text: str) -> None:
        self._console.print(printable(f"{self._name}: {text}"), markup=False, soft_wrap=True)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


class Stop(threading.Event):
    """Is set where a signal ends the reading."""

    number = 0  # of the signal


@contextmanager
def _interruptible() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM set the event, so that what was read is still sent; a second one ends the command at once."""
    stop = Stop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.number = number
        stop.set()

    before = [signal.signal(number, interrupt) for number in ENDING]
    try:
        yield stop
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)


def _pieces(
    raw: BinaryIO,
    file: Path,
    form: Format | None,
    delimiter: str,
    encoding: str,
    stop: threading.Event,
    told: Told,
) -> Iterator[Piece]:
    """Yield the bodies that a file makes, in the format given or the one that it seems to have."""
    if form is Format.PARQUET:
        chunks = read_chunks(raw, file.suffix)
    else:
        chunks = _as_they_come(_decoded(read_chunks(raw, file.suffix), encoding), stop)
        if form is None:
            head = b""
            for chunk in chunks:
                head += chunk
                if len(head) >= SNIFFED_BYTES or (chunk == FLUSH and b"\n" in head):
                    break
            form = sniffed(head)
            told.recognised(form)
            chunks = itertools.chain((head,), chunks)
        if form is not Format.PARQUET:
            yield from pieces(chunks, form, delimiter=delimiter)
            return
    with tempfile.TemporaryFile() as whole:  # the end of such a file is read first
        for chunk in chunks:
            whole.write(chunk)
        whole.seek(0)
        for piece in parquet_pieces(cast(BinaryIO, whole)):
            if stop.is_set():
                return
            yield piece


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Text in another encoding as UTF-8; raise UnicodeError for what it cannot be."""
    if codecs.lookup(encoding).name == "utf-8":
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


def _as_they_come(chunks: Iterator[bytes], stop: threading.Event) -> Iterator[bytes]:
    """Yield the chunks, read by a thread, and FLUSH where none came for a while; ends early when `stop` is set."""
    queue: Queue[bytes | Exception | None] = Queue(READ_AHEAD)

    def read() -> None:
        try:
            for chunk in chunks:
                if chunk:
                    queue.put(chunk)
        except UNREADABLE as error:
            queue.put(error)
        finally:
            queue.put(None)

    threading.Thread(target=read, daemon=True, name="read").start()
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


class Sender:
    """Sends pieces to one dataset."""

    def __init__(self, client: httpx.Client, path: str, params: dict[str, str], *, compress: bool) -> None:
        self._client = client
        self._path = path
        self._params = params
        self._compress = compress

    def send(self, piece: Piece, base: int) -> Outcome:
        """Send a piece whose first event has the index `base` in its file; raise CommandError to stop for good."""
        headers = {"Content-Type": piece.content_type}
        body = piece.body
        if self._compress:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1)
        try:
            params = self._params | ({"csv-delimiter": piece.csv_delimiter} if piece.csv_delimiter else {})
            answer = send_with_retries(
                lambda: self._client.post(self._path, params=params, content=body, headers=headers)
            )
        except httpx.TransportError as error:
            raise unreachable(self._client, error) from error
        if answer.status_code in _BODY_REFUSED:
            place = f"events {base} to {base + piece.events - 1}" if piece.events > 1 else f"event {base}"
            return Outcome(0, (Failure(place, piece.events, message_of(answer)),))
        if not answer.is_success:
            raise refused(self._client, answer)
        return read_outcome(json_of(self._client, answer), base)


def read_outcome(answer: object, base: int) -> Outcome:
    """Return what an ingest answer says, its events numbered within the file, the first of the body being `base`.

    Tailrace begins the error of a failure with "event N: ", N being the index in the body. Axiom does not: there the
    event's time has to tell which it is. Raise CommandError for what is no ingest answer.
    """
    try:
        read = msgspec.convert(answer, Answer)
    except msgspec.ValidationError as error:
        raise CommandError(f"the server's answer is not one to an ingest request: {error}") from error
    return Outcome(read.ingested, tuple(_failure(failure, base) for failure in read.failures))


def _failure(failure: AnswerFailure, base: int) -> Failure:
    found = _FAILURE.fullmatch(failure.error)
    if found is None:
        return Failure(f"an event of {failure.timestamp}", 1, failure.error)
    return Failure(f"event {base + int(found[1])}", 1, found[2])


def _format_by_name(file: Path) -> Format | None:
    """Return the format that the name tells, None for that of a log, whose content has to be looked at."""
    form = Format.JSON if file == STDIN else format_of(file.name)
    if form is None and not is_log(file.name) and not str(file).startswith("/dev/"):
        raise typer.BadParameter(f"the name of {file} does not tell its format: give --format", param_hint="FILE")
    return form


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    with file.open("rb", buffering=0) as raw:  # of a pipe, what is there and not a buffer full
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
    # Not stream_reader: it takes a frame that is cut off for the end of the file.
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
    """A stream whose first bytes were read to see what it is, from its beginning."""

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
    """Return what is there, at least a byte before the end."""
    read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    return read1(size)


def _named(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)


def _size(file: Path) -> int | None:
    return None if file == STDIN or not file.is_file() else file.stat().st_size


def _position(raw: BinaryIO) -> int:
    return raw.tell() if raw.seekable() else 0


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False, emoji=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[events]} events"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
