"""Splitting files of events into request bodies, at the ends of events, if possible without reading a whole file.

Chunks are what was read of a file, cut anywhere; a piece is a body that can be sent by itself.
"""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

import msgspec
from msgspec import Raw, Struct

from tailrace.cli.records import Parse, parsers, raw, recognised

MAX_PIECE_BYTES = 4 * 1024 * 1024
MAX_PIECE_EVENTS = 10_000  # Axiom's limit of events in a request
MAX_RECORD_BYTES = 64 * 1024 * 1024  # of a line or CSV record, so that a wrong file cannot fill the memory

FLUSH = b""  # among the chunks: there is nothing more to read for now, so that complete events are sent
PARQUET_MAGIC = b"PAR1"
SNIFFED_LINES = 20
LOG_EXTENSIONS = (".log", ".txt")  # of files that may hold lines of any format

_SEPARATOR = re.compile(rb"sep=([^\r\n\"])\r?\n?")  # Excel's first line of a CSV file
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Format(StrEnum):
    """The format of a file."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    RAW = "raw"
    LOGFMT = "logfmt"
    COMBINED = "combined"
    SYSLOG = "syslog"


class Piece(Struct, frozen=True):
    """A request body."""

    body: bytes
    events: int
    content_type: str
    csv_delimiter: str = ""  # if the file itself names it
    unread: int = 0  # lines that are not in the file's format, and are sent as messages


class BadFile(Exception):
    """The file is not in its format."""


def format_of(name: str) -> Format | None:
    """Return the format by the extension of a file's name (before .gz or .zst), None for an unknown one."""
    extensions = {
        ".json": Format.JSON,
        ".ndjson": Format.NDJSON,
        ".jsonl": Format.NDJSON,
        ".csv": Format.CSV,
        ".parquet": Format.PARQUET,
    }
    bare = re.sub(r"\.(gz|zst)$", "", name.lower())
    return next((form for extension, form in extensions.items() if bare.endswith(extension)), None)


def is_log(name: str) -> bool:
    """Return whether a file's name says that it is a log, in whichever format."""
    return re.sub(r"\.(gz|zst)$", "", name.lower()).endswith(LOG_EXTENSIONS)


def pieces(
    chunks: Iterable[bytes],
    form: Format,
    *,
    delimiter: str = ",",
    max_bytes: int = MAX_PIECE_BYTES,
    max_events: int = MAX_PIECE_EVENTS,
) -> Iterator[Piece]:
    """Split a file into bodies of at most so many bytes (more only for a single larger event) and events.

    All but JSON is read as it goes, and FLUSH among the chunks ends a body early. JSON, one array or objects in a row,
    is read whole unless each of its lines is an object, which makes it NDJSON. Raise BadFile.
    """
    chunks = _text(_without_bom(chunks))
    match form:
        case Format.PARQUET:
            raise ValueError("a Parquet file is not read in chunks: see parquet_pieces")
        case Format.RAW | Format.LOGFMT | Format.COMBINED | Format.SYSLOG:
            return _records(chunks, parsers(datetime.now().astimezone())[form], max_bytes, max_events)
        case Format.NDJSON:
            return _lines(chunks, max_bytes, max_events)
        case Format.CSV:
            return _csv(chunks, delimiter, max_bytes, max_events)
        case Format.JSON:
            return _json(chunks, max_bytes, max_events)


def _lines(chunks: Iterable[bytes], max_bytes: int, max_events: int) -> Iterator[Piece]:
    pending = b""
    for chunk in chunks:
        pending += chunk
        if chunk == FLUSH:
            end = pending.rfind(b"\n") + 1
            yield from _lines_piece(pending[:end])
            pending = pending[end:]
        while (end := _piece_end(pending, max_bytes, max_events)) > 0:
            yield from _lines_piece(pending[:end])
            pending = pending[end:]
        if len(pending) > max(max_bytes, MAX_RECORD_BYTES):
            raise BadFile(f"a line is longer than {MAX_RECORD_BYTES} bytes")
    while (end := _piece_end(pending, max_bytes, max_events)) > 0:
        yield from _lines_piece(pending[:end])
        pending = pending[end:]
    yield from _lines_piece(pending)


def _lines_piece(body: bytes) -> Iterator[Piece]:
    events = body.count(b"\n") + (not body.endswith(b"\n"))
    # Blank lines are no events; the file is read line by line only if there are any.
    if body[:1] in (b"\n", b"\r", b" ", b"") or b"\n\n" in body or b"\n\r" in body or b"\n " in body:
        events = sum(1 for line in body.split(b"\n") if line.strip())
    if events:
        yield Piece(body, events, "application/x-ndjson")


def _piece_end(pending: bytes, max_bytes: int, max_events: int) -> int:
    """Return the end of the first full piece in the pending bytes; 0 when more must be read."""
    window = min(len(pending), max_bytes)
    if pending.count(b"\n", 0, window) >= max_events:
        end = 0
        for _ in range(max_events):
            end = pending.index(b"\n", end) + 1
        return end
    if len(pending) <= max_bytes:
        return 0
    # A first line that is larger than a piece is sent alone.
    return (pending.rfind(b"\n", 0, window) + 1) or (pending.find(b"\n", window) + 1)


def _csv(chunks: Iterable[bytes], delimiter: str, max_bytes: int, max_events: int) -> Iterator[Piece]:
    chunks, named = _separator(chunks)
    delimiter = named or delimiter
    records = _csv_records(chunks, delimiter)
    head = next((record for record in records if record.strip()), None)
    if head is None:
        return
    # Each piece begins with the header row as it stands in the file: as a request header, names with commas or
    # beyond ASCII would not survive.
    head = head.rstrip(b"\r\n") + b"\n"
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        raise BadFile(f"the header row is not UTF-8 text: {error}") from error
    # A binary file may look like text, and have no second line that would be refused.
    if found := _CONTROL.search(text.replace(delimiter, "")):
        raise BadFile(f"the header row holds the control character {found[0]!r}: is it a CSV file?")
    if not all(next(csv.reader(io.StringIO(text), delimiter=delimiter), [])):
        raise BadFile("the header row has an empty name")
    for body, events in _packed(records, max_bytes - len(head), max_events):
        yield Piece(head + b"".join(body), events, "text/csv", named)


def _separator(chunks: Iterable[bytes]) -> tuple[Iterator[bytes], str]:
    """Remove Excel's first line `sep=;`; return the rest, and the delimiter that it names or nothing."""
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        if b"\n" in head or len(head) > len(b"sep=;\r\n"):
            break
    found = _SEPARATOR.match(head)
    if found is None or head[found.end() - 1 : found.end()] not in (b"\n", found[1]):
        return itertools.chain((head,) if head else (), chunks), ""
    return itertools.chain((head[found.end() :] or b"\n",), chunks), found[1].decode("latin-1")


def _csv_records(chunks: Iterable[bytes], delimiter: str) -> Iterator[bytes]:
    """Split CSV at the line ends that are not within quotes."""
    closed, closing = _csv_patterns(delimiter)
    record: list[bytes] = []
    size = 0
    for line in _each_line(chunks):
        if line == FLUSH and record:
            continue  # in the middle of a record
        if not record and b'"' not in line:
            yield line
            continue
        ends = (closing if record else closed).fullmatch(line) is not None
        record.append(line)
        size += len(line)
        if size > MAX_RECORD_BYTES:
            raise BadFile(f"a record is longer than {MAX_RECORD_BYTES} bytes: is a quote not closed?")
        if ends:
            yield b"".join(record)
            record, size = [], 0
    if record:
        raise BadFile("the file ends inside a quoted value")


def _csv_patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return patterns of a line that ends outside quotes, for one that begins outside and inside quotes."""
    comma = re.escape(delimiter.encode())
    # A quote opens a quoted value only as the first character of it (RFC 4180, section 2.5 to 2.7).
    quoted = rb'"(?:[^"]|"")*+"'
    value = rb"(?:%s(?:(?!%s).)*+|(?!\")(?:(?!%s).)*+)" % (quoted, comma, comma)
    more = rb"(?:%s%s)*+" % (comma, value)
    closed = re.compile(value + more, re.DOTALL)
    closing = re.compile(rb'(?:[^"]|"")*+"(?:(?!%s).)*+%s' % (comma, more), re.DOTALL)
    return closed, closing


def _each_line(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        if chunk == FLUSH:
            yield FLUSH
        for line in io.BytesIO(chunk):
            if line.endswith(b"\n"):
                yield b"".join((*pending, line)) if pending else line
                pending, size = [], 0
            else:
                pending.append(line)
                size += len(line)
                if size > MAX_RECORD_BYTES:
                    raise BadFile(f"a line is longer than {MAX_RECORD_BYTES} bytes")
    if pending:
        yield b"".join(pending)


def _json(chunks: Iterable[bytes], max_bytes: int, max_events: int) -> Iterator[Piece]:
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head = (head + chunk).lstrip(_SPACE)
        if head and (head[:1] != b"{" or b"\n" in head or len(head) > MAX_RECORD_BYTES):
            break
    if not head:
        return
    if head[:1] == b"{" and _is_object(head.partition(b"\n")[0]):
        yield from _lines(itertools.chain((head,), chunks), max_bytes, max_events)
        return
    text = head + b"".join(chunks)
    decode: Callable[[bytes], list[Raw]]
    if head[:1] == b"[":
        decode = msgspec.json.Decoder(list[Raw]).decode
    elif head[:1] == b"{":
        decode = msgspec.json.Decoder(Raw).decode_lines
    else:
        raise BadFile("it begins neither with [ nor with {: give its format by --format")
    try:
        events = decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"it is not valid JSON: {error}") from error
    for body, count in _packed((bytes(event) for event in events), max_bytes - 2, max_events, between=1):
        yield Piece(b"[" + b",".join(body) + b"]", count, "application/json")


def _packed(
    records: Iterable[bytes], max_bytes: int, max_events: int, between: int = 0
) -> Iterator[tuple[list[bytes], int]]:
    """Group records, with so many bytes between two, into lists of at most so many bytes and records."""
    body: list[bytes] = []
    size = 0
    for record in records:
        if record == FLUSH:
            if body:
                yield body, len(body)
                body, size = [], 0
            continue
        if body and (size + len(record) + between > max_bytes or len(body) >= max_events):
            yield body, len(body)
            body, size = [], 0
        body.append(record)
        size += len(record) + between
    if body:
        yield body, len(body)


def _records(chunks: Iterable[bytes], parse: Parse, max_bytes: int, max_events: int) -> Iterator[Piece]:
    """Return lines as events in NDJSON; a line that is not in the format becomes the message of an event."""
    body: list[bytes] = []
    size = unread = 0
    for line in itertools.chain(_each_line(chunks), (FLUSH,)):
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.strip():
            event = parse(text)
            unread += event is None
            encoded = msgspec.json.encode(raw(text) if event is None else event) + b"\n"
            body.append(encoded)
            size += len(encoded)
        if body and (line == FLUSH or size >= max_bytes or len(body) >= max_events):
            yield Piece(b"".join(body), len(body), "application/x-ndjson", unread=unread)
            body, size, unread = [], 0, 0


def sniffed(head: bytes) -> Format:
    """Return the format of a log file by its first lines; raise BadFile for a binary one."""
    lines = [line for line in head.split(b"\n")[:SNIFFED_LINES] if line.strip()]
    if head.startswith(PARQUET_MAGIC):
        return Format.PARQUET
    if lines and all(_is_object(line) for line in lines[: max(len(lines) - 1, 1)]):  # the last one may be incomplete
        return Format.NDJSON
    texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
    return Format(recognised(texts, datetime.now().astimezone()))


def parquet_pieces(
    file: BinaryIO,
    *,
    max_bytes: int = MAX_PIECE_BYTES,
    max_events: int = MAX_PIECE_EVENTS,
    leave: Collection[str] = (),
) -> Iterator[Piece]:
    """Return the rows of a Parquet file as bodies of NDJSON; bytes are in base64. Raise BadFile.

    Columns in `leave` are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(file)
        columns = [name for name in rows.schema_arrow.names if name not in leave] if leave else None
        lines = (
            msgspec.json.encode(row) + b"\n"
            for batch in rows.iter_batches(max_events, columns=columns)
            for row in batch.to_pylist()
        )
        for body, events in _packed(lines, max_bytes, max_events):
            yield Piece(b"".join(body), events, "application/x-ndjson")
    except (pa.ArrowException, OSError, TypeError) as error:
        raise BadFile(f"it cannot be read as Parquet: {error}") from error


def _text(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks; raise BadFile where the first one is not text."""
    chunks = iter(chunks)
    head = next(chunks, b"")
    if head.startswith(PARQUET_MAGIC):
        raise BadFile("it is a Parquet file: give --format parquet")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadFile("it is UTF-16: give --encoding utf-16")
    if b"\0" in head:
        raise BadFile("it holds binary data, not text: what is it? --format and --encoding say how to read it")
    yield head
    yield from chunks


def _is_object(line: bytes) -> bool:
    try:
        return bytes(msgspec.json.decode(line, type=Raw)).startswith(b"{")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_BOM):
            break
    yield head.removeprefix(_BOM)
    yield from chunks
