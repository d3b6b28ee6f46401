"""Loki's push requests, in protobuf and in JSON, as events: one an entry, with the labels of its stream.

The messages are those of Loki's `pkg/push/push.proto`, the JSON that of "Ingest logs" in its HTTP API's document, and
of the former `/api/prom/push`, whose labels are text. What cannot be read costs its own entry, or its own stream.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Raw, Struct

from tailrace.events import BadRequest, TailraceError, TooLarge
from tailrace.events.timestamps import MAX_NS, NS_PER_S, TimeMismatch, timestamp_ns
from tailrace.parsing import EventCollector, Limits, time_member
from tailrace.parsing.protobuf import ProtobufField, message_classes, parse_message, read_message, text_of
from tailrace.parsing.structure import has_more_than
from tailrace.parsing.surrogates import with_whole_characters
from tailrace.parsing.wire_fields import TooManyFields
from tailrace.protocols.doors.loki_labels import parse_labels

EXTRACTED = "_extracted"  # behind a name that the event has already, as in Loki
TAKEN = frozenset({"_time", "message"})  # names of what every entry has
DATASET_LABELS = ("_axiom_dataset", "dataset")
ZERO_TIME_S = -62_135_596_800  # of an entry whose time was not set: the year 1 in Go

_CLASSES = message_classes(
    "tailrace.loki",
    {
        "Push": (ProtobufField(1, "streams", "bytes", is_repeated=True),),  # of Stream
        "Stream": (
            ProtobufField(1, "labels", "bytes"),
            ProtobufField(2, "entries", "bytes", is_repeated=True),  # of Entry
        ),
        "Entry": (
            ProtobufField(1, "timestamp", "Timestamp"),
            ProtobufField(2, "line", "bytes"),
            ProtobufField(3, "metadata", "LabelPair", is_repeated=True),
        ),
        "LabelPair": (ProtobufField(1, "name", "bytes"), ProtobufField(2, "value", "bytes")),
        "Timestamp": (ProtobufField(1, "seconds", "int64"), ProtobufField(2, "nanos", "int32")),
    },
)
PUSH, STREAM, ENTRY = (_CLASSES[name] for name in ("Push", "Stream", "Entry"))

_encode = msgspec.json.Encoder().encode

DatasetOf = Callable[[str], str]  # of the stream's label; raises BadRequest where nothing names one
Members = Sequence[tuple[str, bytes]]  # names, and values as JSON


class _StreamWriter(Struct, frozen=True):
    """Writes the entries of one stream as lines of JSON."""

    dataset: str
    names: frozenset[str]  # which an entry's metadata cannot have
    labels: bytes  # as members of an object, with the braces that close it

    def line(self, time: bytes, text: bytes, metadata: Members = ()) -> bytes:
        """Return an entry: its time and its text as JSON."""
        more = _members(metadata, self.names)[0] if metadata else b""
        return b'{"_time":%b,"message":%b%b%b' % (time, text, more, self.labels)


def _stream_writer(labels: Members, texts: dict[str, str], dataset_of: DatasetOf) -> _StreamWriter:
    label = next((texts[name] for name in DATASET_LABELS if texts.get(name)), "")
    written, names = _members(labels, TAKEN)
    return _StreamWriter(dataset_of(label), names, written + b"}")


def _members(members: Members, taken: frozenset[str]) -> tuple[bytes, frozenset[str]]:
    """Return members as they follow others in an object of JSON, and all names; each has one that is not taken.

    A name that is taken gets EXTRACTED behind it, as in Loki, and a number where that is taken, too.
    """
    written: list[bytes] = []
    names = set(taken)
    repeats: Counter[str] = Counter()  # of each name, so that many of one do not look again through all before
    for sent, value in members:
        name = sent
        while name in names:
            repeats[sent] += 1
            name = f"{sent}{EXTRACTED}" if repeats[sent] == 1 else f"{sent}{EXTRACTED}_{repeats[sent]}"
        names.add(name)
        written.append(b",%b:%b" % (_name(name), value))
    return b"".join(written), frozenset(names)


@lru_cache(1024)
def _name(name: str) -> bytes:
    return _encode(name)


class _Collection:
    """Where the entries of a request go, which are counted from 0."""

    def __init__(self, collector: EventCollector, limits: Limits, dataset_of: DatasetOf) -> None:
        self.collector = collector
        self.dataset_of = dataset_of
        self._limits = limits
        self._next = 0

    def numbers(self, count: int) -> range:
        """Return the numbers of the next entries; raise TooLarge past `max_events`."""
        self._next += count
        if self._next > self._limits.max_events:
            raise TooLarge(f"the request holds more than max_events = {self._limits.max_events} entries")
        return range(self._next - count, self._next)

    def check_size(self, count: int, writer: _StreamWriter) -> None:
        """Raise TooLarge where the labels of a stream, which each of its entries gets, are too much in all."""
        if count * len(writer.labels) > self._limits.max_body_bytes:
            raise TooLarge(
                f"the labels of {count} entries have more than max_body_bytes = {self._limits.max_body_bytes} bytes"
            )

    def refuse(self, numbers: Iterable[int], error: TailraceError) -> None:
        """Refuse entries for one reason."""
        for number in numbers:
            self.collector.refuse(number, error.message)


# Protobuf.


def collect_protobuf(body: bytes, collector: EventCollector, limits: Limits, dataset_of: DatasetOf) -> None:
    """Give a collector the entries of a decoded body in protobuf; raise BadRequest where it is none, and TooLarge."""
    collection = _Collection(collector, limits, dataset_of)
    push = parse_message(PUSH, body, "push request of Loki")
    if len(push.streams) > limits.max_events:
        raise TooLarge(f"the request holds more streams than max_events = {limits.max_events}")
    for sent in push.streams:
        stream = parse_message(STREAM, sent, "stream of Loki")
        entries = stream.entries
        numbers = collection.numbers(len(entries))
        try:
            labels = parse_labels(stream.labels)
            writer = _stream_writer([(name, _encode(value)) for name, value in labels], dict(labels), dataset_of)
        except BadRequest as error:
            collection.refuse(numbers, error)
            continue
        collection.check_size(len(entries), writer)
        _collect_entries(entries, numbers, writer, collector)


def _collect_entries(
    entries: Sequence[bytes], numbers: range, writer: _StreamWriter, collector: EventCollector
) -> None:
    lines: list[bytes] = []
    good: list[int] = []
    now = time_member(collector.received_ns)
    for number, sent in zip(numbers, entries, strict=True):
        try:
            entry = read_message(ENTRY, sent)
        except (DecodeError, TooManyFields) as error:
            collector.refuse(number, f"it cannot be read: {error}")
            continue
        stamp = entry.timestamp
        seconds = stamp.seconds
        time_ns = seconds * NS_PER_S + stamp.nanos
        if not 0 < time_ns <= MAX_NS:
            if abs(time_ns) > MAX_NS and seconds != ZERO_TIME_S:
                collector.refuse(number, "its time is outside the years 1677 to 2262", "invalid_time")
                continue
            is_set = entry.HasField("timestamp") and seconds != ZERO_TIME_S
            time = time_member(time_ns) if is_set else now
        else:
            time = time_member(time_ns)
        metadata = [(text_of(pair.name), _encode(text_of(pair.value))) for pair in entry.metadata]
        lines.append(writer.line(time, _encode(text_of(entry.line)), metadata))
        good.append(number)
    collector.add_lines(writer.dataset, good, lines)


# JSON.


class _Entry(Struct, array_like=True, forbid_unknown_fields=True):
    """An entry of the API as it is."""

    ts: str
    line: Raw
    metadata: dict[str, Raw] = {}


class _FormerEntry(Struct):
    """An entry of the former API."""

    ts: str
    line: Raw
    metadata: dict[str, Raw] = {}


class _Stream(Struct):
    """A stream: its labels and entries, each in one of two forms."""

    stream: dict[str, Raw] | None = None
    values: list[_Entry] = []
    labels: str = ""
    entries: list[_FormerEntry] = []


class _LooseStream(Struct):
    """A stream not all of which can be read."""

    stream: dict[str, Raw] | None = None
    values: list[Raw] = []
    labels: str = ""
    entries: list[Raw] = []


class _Push(Struct):
    streams: list[Raw]


_PUSH = msgspec.json.Decoder(_Push)
_STREAM = msgspec.json.Decoder(_Stream)
_LOOSE_STREAM = msgspec.json.Decoder(_LooseStream)
_ENTRY = msgspec.json.Decoder(_Entry)
_FORMER_ENTRY = msgspec.json.Decoder(_FormerEntry)
_TEXT = msgspec.json.Decoder(str)
_FAULTS = (msgspec.MsgspecError, UnicodeError, RecursionError)
_BRACKETS = 5  # of a stream and its entry, at most, outside of values
_FREE_BRACKETS = 16
_TIME_CHARACTERS = 30  # of a time, at most


def collect_json(body: bytes, collector: EventCollector, limits: Limits, dataset_of: DatasetOf) -> None:
    """Give a collector the entries of a decoded body in JSON; raise BadRequest where it is none, and TooLarge."""
    collection = _Collection(collector, limits, dataset_of)
    if has_more_than(body, _BRACKETS * limits.max_events + _FREE_BRACKETS, b"[{"):
        raise TooLarge(f"the request holds more than max_events = {limits.max_events} entries")
    try:
        push = _PUSH.decode(with_whole_characters(body))
    except _FAULTS as error:
        raise BadRequest(f"the body is no push request of Loki in JSON: {error}") from None
    for raw in push.streams:
        try:
            stream: _Stream | _LooseStream = _STREAM.decode(raw)
        except _FAULTS:
            try:
                stream = _LOOSE_STREAM.decode(raw)
            except _FAULTS as error:
                collection.refuse(collection.numbers(1), BadRequest(f"the stream cannot be read: {error}"))
                continue
        _collect_stream(stream, collection)


def _collect_stream(stream: _Stream | _LooseStream, collection: _Collection) -> None:
    count = len(stream.values) + len(stream.entries)
    numbers = collection.numbers(count)
    try:
        labels = _labels_of(stream)
        texts = {name: _TEXT.decode(value) for name, value in labels if name in DATASET_LABELS and value[:1] == b'"'}
        writer = _stream_writer(labels, texts, collection.dataset_of)
    except BadRequest as error:
        collection.refuse(numbers, error)
        return
    collection.check_size(count, writer)
    lines: list[bytes] = []
    good: list[int] = []
    for number, (entry, form) in zip(numbers, _entries_of(stream), strict=True):
        try:
            read = form.decode(entry) if isinstance(entry, Raw) else entry
            line = bytes(read.line)
            if line[:1] != b'"':
                raise BadRequest("its line is no text")
            time = _json_time(read.ts) if isinstance(read, _Entry) else _former_time(read.ts)
            metadata = [(name, bytes(value)) for name, value in read.metadata.items()]
        except BadRequest as error:
            collection.refuse((number,), error)
        except _FAULTS as error:
            collection.refuse((number,), BadRequest(f"the entry is none of Loki's: {error}"))
        else:
            lines.append(writer.line(time, line, metadata))
            good.append(number)
    collection.collector.add_lines(writer.dataset, good, lines)


def _labels_of(stream: _Stream | _LooseStream) -> Members:
    if stream.stream is not None:
        return [(name, bytes(value)) for name, value in stream.stream.items()]
    if stream.labels:
        return [(name, _encode(value)) for name, value in parse_labels(stream.labels.encode())]
    raise BadRequest("the stream has no labels: 'stream' is to be an object")


def _entries_of(stream: _Stream | _LooseStream) -> list[tuple[Any, Any]]:
    """Return the entries of a stream, each with the decoder of its form."""
    return [(each, _ENTRY) for each in stream.values] + [(each, _FORMER_ENTRY) for each in stream.entries]


def _json_time(text: str) -> bytes:
    """Return the time that a text of digits is in ns; raise BadRequest where it is none."""
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > _TIME_CHARACTERS:
        raise BadRequest(f"its time {text[:_TIME_CHARACTERS]!r} is no whole number of nanoseconds since the Unix epoch")
    time_ns = int(text)
    if abs(time_ns) > MAX_NS:
        raise BadRequest("its time is outside the years 1677 to 2262")
    return time_member(time_ns)


def _former_time(text: str) -> bytes:
    """Return the time that RFC 3339 is; raise BadRequest where it is none."""
    try:
        time_ns = timestamp_ns(text)
    except TimeMismatch as error:
        raise BadRequest(f"its time {text[:_TIME_CHARACTERS]!r} is none: {error}") from None
    if abs(time_ns) > MAX_NS:
        raise BadRequest("its time is outside the years 1677 to 2262")
    return time_member(time_ns)
