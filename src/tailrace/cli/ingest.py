"""`tailrace ingest`: send files of events, in pieces, and say what became of each."""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

import httpx
import msgspec
import typer
import zstandard
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tailrace.cli.client import (
    DEFAULT_DATA,
    DataOption,
    TokenOption,
    UrlOption,
    connect,
    find_server,
    is_loopback,
    json_of,
    message_of,
    quoted,
    refused,
    send_with_retries,
    unreachable,
)
from tailrace.cli.errors import FAILED, CommandError
from tailrace.cli.output import printable
from tailrace.cli.pieces import BadFile, Format, Piece, format_of, pieces

READ_BYTES = 1024 * 1024
ZSTD_READ_BYTES = 16 * 1024  # compressed: what comes out of it at once may be far more
GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
STDIN = Path("-")
# Refusals of this one body; with any other, the next body would meet the same.
_BODY_REFUSED = frozenset({400, 413, 415, 422})
_FAILURE = re.compile(r"event (\d+): (.*)", re.DOTALL)


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


def ingest(
    dataset: Annotated[str, typer.Argument(help="Dataset to send to.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files: .json, .ndjson, .jsonl or .csv, also gzip or zstd of them; - is standard input.",
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
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Send events from files.

    Refused events are listed on standard error, numbered from 0 within their file as in the server's answers.

    A file that cannot be read to its end is named there too. In both cases the exit code is 1.
    """
    if len(csv_delimiter) != 1 or not csv_delimiter.isascii() or csv_delimiter in '"\r\n':
        raise typer.BadParameter("it is one ASCII character", param_hint="--csv-delimiter")
    formats = [form or _format_by_name(file) for file in files]
    for file in files:
        if file != STDIN and not file.is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    options = {
        "timestamp-field": timestamp_field,
        "timestamp-format": timestamp_format,
        "csv-delimiter": csv_delimiter if csv_delimiter != "," else None,
    }
    target = find_server(url, token, data)
    ingested = failed = 0
    broken = 0
    with connect(target) as client, _progress() as progress:
        sender = Sender(
            client,
            f"/v1/datasets/{quoted(dataset)}/ingest",
            {name: value for name, value in options.items() if value},
            compress=not is_loopback(target.url),
        )
        try:
            for file, held in zip(files, formats, strict=True):
                base = 0
                task = progress.add_task(str(file), total=_size(file), events=0)
                try:
                    with _opened(file) as raw:
                        chunks = read_chunks(raw, file.suffix)
                        for piece in pieces(chunks, held, delimiter=csv_delimiter):
                            outcome = sender.send(piece, base)
                            base += outcome.ingested + outcome.failed
                            ingested += outcome.ingested
                            failed += outcome.failed
                            for failure in outcome.failures:
                                _print(progress.console, f"{file}: {failure.place}: {failure.reason}")
                            progress.update(task, completed=_position(raw), events=base)
                # OSError: gzip's BadGzipFile, and a disk that cannot be read.
                except (BadFile, OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                    broken += 1
                    part = f"not read beyond event {base - 1}" if base else "nothing of it was sent"
                    _print(progress.console, f"{file}: {part}: {error}")
        except CommandError as error:
            if ingested or failed or broken:
                raise CommandError(f"{error}; before that {_summary(ingested, failed, broken)}") from error
            raise
    print(_summary(ingested, failed, broken))
    if failed or broken:
        raise typer.Exit(FAILED)


class Sender:
    """Sends pieces to one dataset."""

    def __init__(self, client: httpx.Client, path: str, params: dict[str, str], *, compress: bool) -> None:
        self._client = client
        self._path = path
        self._params = params
        self._compress = compress

    def send(self, piece: Piece, base: int) -> Outcome:
        """Send a piece whose first event has the index `base` in its file; raises CommandError to stop for good."""
        headers = {"Content-Type": piece.content_type}
        body = piece.body
        if self._compress:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1)
        try:
            answer = send_with_retries(
                lambda: self._client.post(self._path, params=self._params, content=body, headers=headers)
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
    event's time has to tell which it is. Raises CommandError for what is no ingest answer.
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


def _format_by_name(file: Path) -> Format:
    form = Format.JSON if file == STDIN else format_of(file.name)
    if form is None:
        raise typer.BadParameter(f"the name of {file} does not tell its format: give --format")
    return form


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    with file.open("rb") as raw:
        yield raw


def read_chunks(raw: BinaryIO, suffix: str = "") -> Iterator[bytes]:
    """Yield what a file holds, decompressed when it begins as gzip or zstd, or its name has the suffix of either.

    Raises OSError, EOFError, zlib.error and zstandard.ZstdError for what is damaged or cut off.
    """
    head = raw.read(len(ZSTD_MAGIC))
    rest = cast(BinaryIO, io.BufferedReader(_Rejoined(head, raw), READ_BYTES))
    if head.startswith(GZIP_MAGIC):
        suffix = ".gz"
    elif head.startswith(ZSTD_MAGIC):
        suffix = ".zst"
    match suffix.lower():
        case ".gz":
            yield from _chunks(cast(BinaryIO, gzip.GzipFile(fileobj=rest)))
        case ".zst":
            yield from _zstd_chunks(rest)
        case _:
            yield from _chunks(rest)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(READ_BYTES):
        yield chunk


def _zstd_chunks(stream: BinaryIO) -> Iterator[bytes]:
    # Not stream_reader: it takes a frame that is cut off for the end of the file.
    frame = None
    while chunk := stream.read(ZSTD_READ_BYTES):
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
        part = self._head[:room] or self._rest.read(room)
        self._head = self._head[room:]
        buffer[: len(part)] = part
        return len(part)


def _size(file: Path) -> int | None:
    return None if file == STDIN else file.stat().st_size


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


def _print(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, soft_wrap=True)


def _summary(ingested: int, failed: int, broken: int) -> str:
    files = f", {broken} {'file' if broken == 1 else 'files'} not read to the end" if broken else ""
    return f"ingested {ingested} events, {failed} failed{files}"
