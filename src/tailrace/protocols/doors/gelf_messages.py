"""GELF messages, by HTTP, TCP or UDP: one message as an event, and the chunks of a datagram's message put together.

As the GELF specification has them (go2docs.graylog.org, "GELF Format"), version 1.1, and 1.0 as older clients send it.
"""

import re
from collections.abc import Hashable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from tailrace.events import BadRequest
from tailrace.events.times import rfc3339
from tailrace.events.timestamps import MAX_NS, NS_PER_S, TimeMismatch, epoch_ns, timestamp_ns
from tailrace.parsing import decode_body
from tailrace.parsing.surrogates import with_whole_characters

CHUNK_MAGIC = b"\x1e\x0f"
CHUNK_HEAD_BYTES = 12  # magic, 8 bytes of id, number of the chunk, number of chunks
MAX_CHUNKS = 128
MAX_AGE_S = 5.0  # of an incomplete message, from its first chunk
TIME = "_time"

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_GZIP = b"\x1f\x8b"
_LINE = re.compile(rb"[^\r\n]+")
_BLANK = re.compile(rb'"(?:\\[nrt]| )*+"')  # a text of nothing but white space
_NUMBER = re.compile(r"-?[0-9.]+(?:[eE][+-]?[0-9]+)?")
_NULL = b"null"
_VERSION = ("version",)


# One message.


def encoding_of(message: bytes) -> str:
    """Return how a message is compressed, which is known by how it begins: "gzip", "deflate" for zlib, or ""."""
    if message.startswith(_GZIP):
        return "gzip"
    # RFC 1950; no JSON begins so.
    is_zlib = len(message) > 1 and message[0] & 0x0F == 8 and int.from_bytes(message[:2], "big") % 31 == 0
    return "deflate" if is_zlib else ""


def decompressed(message: bytes, max_bytes: int) -> bytes:
    """Return a message as JSON, compressed or not; raise TooLarge, and BadRequest where it is broken."""
    return decode_body(message, encoding_of(message), max_bytes)


def split_messages(body: bytes) -> Iterator[bytes]:
    """Yield the messages of a body: one a line where the first line is one, else the body as one message."""
    first = _LINE.search(body)
    if first is not None and first.end() < len(body) and _is_object(first[0]):
        yield from (line[0] for line in _LINE.finditer(body) if line[0].strip())
    else:
        yield body


def _is_object(text: bytes) -> bool:
    try:
        _OBJECT.decode(with_whole_characters(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def gelf_event(message: bytes) -> dict[str, Any]:
    """Return the event that a message in JSON is, its values as they were sent.

    The short message is `message`; `_name` is `name`, but keeps its underscore where another field has that name;
    `timestamp`, in seconds, is `_time`, to the nanosecond, and stays a field where it is no time; `version` says how
    the message is written and is no field.

    Raise BadRequest for what is no GELF message, as Graylog refuses it: without a text, or with a host that is none.
    """
    try:
        sent = _OBJECT.decode(with_whole_characters(message))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"the message is no JSON object: {error}") from None
    host = bytes(sent.get("host", _NULL))
    if host != _NULL and (host[:1] != b'"' or _BLANK.fullmatch(host)):
        raise BadRequest("'host' is to be a text that is not empty")
    event: dict[str, Any] = {}
    time = _time(bytes(sent.get("timestamp", _NULL)))
    if time:
        event[TIME] = time
    text = _text_name(sent)
    event["message"] = sent[text]
    further = [name for name in sent if name != text and name not in (("version", "timestamp") if time else _VERSION)]
    for name in sorted(further, key=_is_additional):  # what GELF itself names first
        short = name[1:] if _is_additional(name) else ""
        own = short if short and short not in event and short != TIME else name
        while own in event or own == TIME:
            own = "_" + own
        event[own] = sent[name]
    return event


def _is_additional(name: str) -> bool:
    return name.startswith("_")


def _text_name(sent: dict[str, Raw]) -> str:
    """Return the name of the text of a message: `short_message`, or `message`, which Graylog takes too."""
    for name in ("short_message", "message"):
        value = bytes(sent.get(name, _NULL))
        if value != _NULL and value[:1] != b'"':
            raise BadRequest(f"{name!r} is to be a text")
        if value != _NULL and not _BLANK.fullmatch(value):
            return name
    raise BadRequest("the message has no text: 'short_message' is missing or empty")


def _time(value: bytes) -> str:
    """Return a number of seconds, or a text that is one or another time, as RFC 3339; "" for what is no time.

    Graylog gives a message with such a timestamp the time of its receipt.
    """
    is_text = value[:1] == b'"'
    try:
        text = msgspec.json.decode(value, type=str) if is_text else value.decode("ascii")
        time_ns = timestamp_ns(text) if is_text and not _NUMBER.fullmatch(text) else epoch_ns(text, NS_PER_S)
    except (TimeMismatch, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return rfc3339(time_ns) if abs(time_ns) <= MAX_NS else ""


# Chunks.


class _PendingMessage(Struct, eq=False):
    """A message some of whose chunks came."""

    total: int
    began_s: float
    chunks: dict[int, bytes] = field(default_factory=dict)
    size: int = 0  # bytes


class GelfAssembler:
    """Puts the chunks of datagrams together, in bounded memory.

    A message that is not complete after 5 seconds is dropped, as the specification says, and so is the oldest where
    all together have more than `max_bytes` or are more than `max_messages`: `dropped` says how many were. As long
    are the ids of complete messages known, the last `max_messages` of them: a network may deliver a chunk twice.
    """

    def __init__(self, *, max_bytes: int, max_messages: int = 10_000) -> None:
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._pending: dict[tuple[Hashable, bytes], _PendingMessage] = {}  # by sender and id, the oldest first
        self._complete: dict[tuple[Hashable, bytes], float] = {}  # when, in s; the first of them first
        self._bytes = 0
        self.dropped = 0  # messages

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, datagram: bytes, source: Hashable, now_s: float) -> bytes | None:
        """Take a datagram from `source`; return the message that it is, or that is complete with it, as sent.

        `now_s` is of a clock that never goes back. Raise BadRequest for a chunk that cannot be.
        """
        self.expire(now_s)
        if not datagram.startswith(CHUNK_MAGIC):
            return datagram
        if len(datagram) < CHUNK_HEAD_BYTES:
            raise BadRequest(f"the chunk has {len(datagram)} bytes; its head alone has {CHUNK_HEAD_BYTES}")
        number, total = datagram[10], datagram[11]
        if not number < total <= MAX_CHUNKS:
            raise BadRequest(f"the chunk is number {number} of {total}; there are at most {MAX_CHUNKS}, counted from 0")
        key = (source, datagram[2:10])
        if key in self._complete:
            return None
        message = self._pending.get(key)
        if message is None:
            message = self._pending[key] = _PendingMessage(total, now_s)
        elif message.total != total:
            raise BadRequest(f"the chunk is of a message of {total} chunks; others of its id are of {message.total}")
        if number not in message.chunks:
            chunk = datagram[CHUNK_HEAD_BYTES:]
            message.chunks[number] = chunk
            message.size += len(chunk)
            self._bytes += len(chunk)
        if len(message.chunks) == total:
            del self._pending[key]
            self._bytes -= message.size
            self._complete[key] = now_s
            if len(self._complete) > self._max_messages:
                del self._complete[next(iter(self._complete))]
            return b"".join(message.chunks[each] for each in range(total))
        while self._bytes > self._max_bytes or len(self._pending) > self._max_messages:
            self._drop_oldest()
        return None

    def expire(self, now_s: float) -> None:
        """Drop the messages that are too old to be completed, and forget the ids of those that were as long ago."""
        while self._complete and now_s - next(iter(self._complete.values())) >= MAX_AGE_S:
            del self._complete[next(iter(self._complete))]
        while self._pending and now_s - next(iter(self._pending.values())).began_s >= MAX_AGE_S:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        message = self._pending.pop(next(iter(self._pending)))
        self._bytes -= message.size
        self.dropped += 1
