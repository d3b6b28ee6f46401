"""The Forward protocol of Fluentd and Fluent Bit, version 1, with acknowledgements and the handshake by a shared key.

Source: github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from tailrace.events import BadRequest, TailraceError, Unauthorized
from tailrace.events.times import rfc3339
from tailrace.events.timestamps import NS_PER_S
from tailrace.parsing import Limits, decode_body
from tailrace.parsing.msgpack import TIMESTAMP, may_hold_times, timestamp_text
from tailrace.protocols.doors.envelope import SENT_TIME, TIME
from tailrace.protocols.doors.msgpack_frames import (
    MsgpackFrames,
    decode_leniently,
    payload_of,
    plain,
    values_of,
)
from tailrace.protocols.stream import Origin, StreamBatch, StreamDoor, StreamOptions

SERVER_NAME = "tailrace"  # in the handshake; it has to differ from the client's name
NONCE_BYTES = 16
PING_PARTS = 6
MAX_HANDSHAKE_BYTES = 64 * 1024
MAX_VALUES = 1_000_000  # in a message, and in an event of a chunk
EVENT_TIME = 0  # type of the extension
MAX_GZIP_RATIO = 1032  # of DEFLATE, which no data exceeds
COMPRESSIONS = ("gzip", "zstd")
HEARTBEAT = b"\0"

_ARRAY = msgspec.msgpack.Decoder(list[Raw])
_NIL = b"\xc0"
_PING = b"\xa4PING"
_encode = msgspec.msgpack.Encoder().encode


class FluentOptions(StreamOptions, frozen=True):
    """The options of the door; its UDP port takes heartbeats only."""

    shared_key: Annotated[
        str,
        Meta(
            description="Key that clients have to know; if empty, none is asked for.",
            extra={"secret": "the shared_key of the clients"},
        ),
    ] = ""
    username: Annotated[
        str, Meta(description="Name of the user that clients have to give, beside the shared key; if empty, none.")
    ] = ""
    password: Annotated[
        str, Meta(description="Password of that user.", extra={"secret": "the password of the clients"})
    ] = ""


class _FluentMessage(Struct, frozen=True):
    """A message of the three modes."""

    tag: str
    entries: Sequence[tuple[bytes, bytes] | bytes]  # time and record, apart or as an array of both
    options: dict[Any, Any]


class FluentSession:
    """One connection of a client."""

    def __init__(self, options: FluentOptions, limits: Limits) -> None:
        self._options = options
        self._limits = limits
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._auth_salt = secrets.token_bytes(NONCE_BYTES) if options.username else b""
        self._is_known = not options.shared_key
        self._fault: TailraceError | None = None
        most = limits.max_body_bytes if self._is_known else min(limits.max_body_bytes, MAX_HANDSHAKE_BYTES)
        self._frames = MsgpackFrames(most, MAX_VALUES)

    @property
    def fault(self) -> TailraceError | None:
        """Why no more can be read."""
        return self._fault or self._frames.fault

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not whole; some where the client has to say who it is."""
        return self._frames.pending_bytes or int(not self._is_known)

    def open(self) -> bytes:
        """Return HELO, where a key is asked for."""
        if self._is_known:
            return b""
        return _encode(["HELO", {"nonce": self._nonce, "auth": self._auth_salt, "keepalive": True}])

    def split(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the messages that are whole now."""
        return self._frames.split(data)

    def end(self) -> list[bytes]:
        """Return nothing: what is not whole was not acknowledged, and is sent again."""
        return []

    def read(self, frames: Sequence[bytes], batch: StreamBatch) -> None:
        """Add the events of messages to a batch, with the acknowledgements that are asked for."""
        chunks: set[str] = set()
        replies: list[bytes] = []
        for frame in frames:
            try:
                replies.append(self._message(frame, batch, chunks) if self._is_known else self._handshake(frame))
            except TailraceError as error:
                self._fault = error
            if self._fault is not None:
                break
        batch.reply = b"".join(replies)

    def _handshake(self, frame: bytes) -> bytes:
        """Return PONG to a PING."""
        raw = [bytes(part) for part in _array(frame)]
        if len(raw) != PING_PARTS or raw[0] != _PING:
            raise Unauthorized("the client does not begin with PING: it needs the shared key")
        client, salt, digest, user, password = map(payload_of, raw[1:])
        options = self._options
        key = options.shared_key.encode()
        reason = ""
        if not _is_digest(digest, salt, client, self._nonce, key):
            reason = "shared_key mismatch"
        elif options.username and not (
            hmac.compare_digest(user, options.username.encode())
            and _is_digest(password, self._auth_salt, user, options.password.encode())
        ):
            reason = "username/password mismatch"
        if reason:
            self._fault = Unauthorized(f"{reason} of the client {client[:100].decode('utf-8', 'replace')!r}")
            return _encode(["PONG", False, reason, "", ""])
        self._is_known = True
        self._frames.max_bytes = self._limits.max_body_bytes
        own = hashlib.sha512(salt + SERVER_NAME.encode() + self._nonce + key).hexdigest()
        return _encode(["PONG", True, "", SERVER_NAME, own])

    def _message(self, frame: bytes, batch: StreamBatch, chunks: set[str]) -> bytes:
        """Add the events of a message, unless they are of one of the `chunks` already; return its acknowledgement."""
        if frame == _NIL:  # a heartbeat
            return b""
        message = _read_message(frame, self._limits)
        chunk = message.options.get("chunk")
        name = f"{message.tag}\0{chunk}" if chunk else ""
        if name not in chunks:
            for entry in message.entries:
                _add_entry(entry, message.tag, batch, name)
        if not name:
            return b""
        chunks.add(name)
        return _encode({"ack": chunk})


def _is_digest(digest: bytes, *parts: bytes) -> bool:
    return hmac.compare_digest(digest.lower(), hashlib.sha512(b"".join(parts)).hexdigest().encode())


def _array(frame: bytes | Raw) -> list[Raw]:
    try:
        return _ARRAY.decode(frame)
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("a message is no array, as those of the Forward protocol are") from None


def _read_message(frame: bytes, limits: Limits) -> _FluentMessage:
    """Return the parts of a message; raise BadRequest for what is none, TooLarge."""
    parts = [bytes(part) for part in _array(frame)]
    if not 2 <= len(parts) <= 4:
        raise BadRequest(f"a message has {len(parts)} parts; those of the Forward protocol have 2 to 4")
    tag = payload_of(parts[0]).decode("utf-8", "replace")
    kind = parts[1][0]
    if len(parts) < 4 and (0x90 <= kind <= 0x9F or kind in (0xDC, 0xDD)) and not _is_message_mode(parts):
        return _FluentMessage(tag, [bytes(entry) for entry in _array(parts[1])], _options(parts[2:]))
    if len(parts) < 4 and (0xA0 <= kind <= 0xBF or 0xC4 <= kind <= 0xC6 or 0xD9 <= kind <= 0xDB):
        options = _options(parts[2:])
        data = payload_of(parts[1])
        compression = options.get("compressed") or "text"
        if compression in COMPRESSIONS:
            data = decode_body(data, compression, limits.max_body_bytes)
        elif compression != "text":
            raise BadRequest(f"the compression {compression!r} is none of {', '.join(COMPRESSIONS)}")
        return _FluentMessage(tag, _entries(data, options.get("size")), options)
    if len(parts) < 3:
        raise BadRequest("a message has a tag and a time, but no record")
    return _FluentMessage(tag, [(parts[1], parts[2])], _options(parts[3:]))


def _is_message_mode(parts: Sequence[bytes]) -> bool:
    """Whether the array in a message is a time with metadata, as Fluent Bit has it since version 2.1."""
    if len(parts) != 3 or not (0x80 <= parts[2][0] <= 0x8F or parts[2][0] >= 0xDE) or parts[1][0] != 0x92:
        return False
    first = _array(parts[1])[0]
    return not 0x90 <= bytes(first)[0] <= 0x9F


def _options(parts: Sequence[bytes]) -> dict[Any, Any]:
    if not parts or parts[0] == _NIL:
        return {}
    options = plain(decode_leniently(parts[0], _extension))
    if not isinstance(options, dict):
        raise BadRequest("the options of a message are no map")
    return options


def _entries(data: bytes, size: Any) -> list[bytes]:
    """Return the entries of a chunk, of which `size` says how many they are, if that is right."""
    if isinstance(size, int) and 0 < size <= len(data) // 2:
        try:
            return [bytes(entry) for entry in _ARRAY.decode(b"\xdd" + size.to_bytes(4, "big") + data)]
        except (msgspec.MsgspecError, RecursionError, OverflowError):
            pass  # it is not right, or the chunk is not
    return values_of(data, MAX_VALUES)


def _extension(kind: int, data: bytes | memoryview) -> Any:
    """Return an EventTime, and a timestamp of MessagePack, as RFC 3339, and any other extension as its bytes."""
    if kind == EVENT_TIME and len(data) == 8:
        seconds, fraction = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        return rfc3339(seconds * NS_PER_S + fraction)
    if kind == TIMESTAMP and len(data) in (4, 8, 12):
        with suppress(ValueError, OverflowError, OSError):
            return timestamp_text(data)
    return bytes(data)


_DECODER = msgspec.msgpack.Decoder(ext_hook=_extension)


def _decode(value: bytes) -> Any:
    if may_hold_times(value):  # of which msgspec rounds to microseconds
        return decode_leniently(value, _extension)
    try:
        return _DECODER.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
        return decode_leniently(value, _extension)


def _add_entry(entry: tuple[bytes, bytes] | bytes, tag: str, batch: StreamBatch, key: str) -> None:
    """Add an event, with the key of its chunk, or refuse it."""
    try:
        parts = _decode(entry) if isinstance(entry, bytes) else [_decode(part) for part in entry]
        if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[1], dict):
            raise BadRequest("an event is a time and a record, which is a map")
        time, metadata = parts[0], None
        if isinstance(time, list) and len(time) == 2:
            time, metadata = time
        event = plain(parts[1])
        if TIME in event:
            event[SENT_TIME] = event.pop(TIME)
        event[TIME] = _time(time)
    except BadRequest as error:
        batch.refuse(error.message, error.code)
        return
    event["fluent_tag" if "tag" in event else "tag"] = tag
    if metadata:
        event["fluent_metadata"] = plain(metadata)
    batch.add(event, key=key)


def _time(time: Any) -> Any:
    """Return a time as the collector reads it: seconds that may be 0 or far away as RFC 3339."""
    if isinstance(time, bool) or not isinstance(time, (int, float, str)):
        raise BadRequest("the time of an event is none")
    if isinstance(time, str):
        return time
    try:
        return rfc3339(time * NS_PER_S if isinstance(time, int) else round(time * NS_PER_S))
    except (OverflowError, ValueError, OSError):
        raise BadRequest(f"the time {time!r} of an event is none; it is in seconds") from None


def _sessions(options: FluentOptions, limits: Limits) -> Callable[[Origin], FluentSession]:
    return lambda origin: FluentSession(options, limits)


def decoded_bytes(limits: Limits, message: bytes) -> int:
    """Return how many bytes a message may have once its chunk is decoded."""
    if b"compressed" not in message:
        return len(message)
    decoded = limits.max_body_bytes if b"zstd" in message else MAX_GZIP_RATIO * len(message)
    return max(len(message), min(decoded, limits.max_body_bytes))


def _check(options: FluentOptions) -> str:
    if not options.token:
        return "setting fluent_token: the door of the Forward protocol needs a token, as its messages have none"
    if bool(options.username) != bool(options.password) or (options.username and not options.shared_key):
        return "setting fluent_username: it needs fluent_password and fluent_shared_key"
    return ""


DOOR = StreamDoor(
    name="fluent",
    title="Fluent Forward",
    options=FluentOptions,
    sessions=_sessions,
    echo=HEARTBEAT,
    check=_check,
    decoded_bytes=decoded_bytes,
)
