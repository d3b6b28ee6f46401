"""The bodies of Datamix: what they hold, as JSON or as a form, and which of their messages are events."""

import hashlib
import json
import math
import re
from collections.abc import Sequence, Sized
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.parsing import Limits
from tailrace.parsing.structure import has_more_than

MAX_AGE_MS = 10 * 60 * 1000  # a timestamp may lie this far before the time at which the request was received
MAX_AHEAD_MS = 10 * 1000  # and this far after it

_LEVELS = ("debug", "info", "warn", "error", "fatal")
_NS_PER_MS = 1_000_000
_EXCERPT_CHARACTERS = 60  # of a client's value in a reason
_EXCERPT_BITS = 128  # of a number
_MAX_INDEX_DIGITS = 15
_MAX_DIGITS = 400  # of an integer that is read as one
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_JSON_STARTS = (b"{", b"[", b'"')
_MAX_FURTHER_FIELDS = 10_000  # of a form, beside the four that each message may have
_VALUES_A_MESSAGE = 16  # commas and brackets of a message in JSON; with its four members it needs four
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class LogMessage(Struct):
    """A message whose fields are all of their types; its time is judged against when it was received."""

    level: Literal["debug", "info", "warn", "error", "fatal"]
    timestamp: int  # ms since the Unix epoch
    message: str


class InvalidMessage(Struct, frozen=True):
    """Why a message is refused at any time."""

    reason: str
    code: str


class SentLogs(Struct):
    """The body of a request with logs."""

    session: object = None  # as sent; None when there is none
    logs: Sequence[LogMessage | InvalidMessage] | None = None  # None when there is no list of messages
    indexes: Sequence[int] = ()  # of the logs, as the client counts them
    digest: bytes = b""  # of the decoded body
    size: int = 0  # of the decoded body in bytes


class LogsBody(Struct):
    """A body in which everything is as documented."""

    session: str | UnsetType | None = UNSET
    messages: list[LogMessage] | UnsetType = UNSET


class _StoredMessage(Struct):
    level: str
    message: str


_BODY = msgspec.json.Decoder(LogsBody)
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


# Bodies. The content type tells nothing: jQuery labels JSON as a form when it is given as text.


def read_key(body: bytes) -> object:
    """Return the key in a decoded body, as it was sent; None where there is none. Raise BadRequest."""
    text = _text(body)
    if not text:
        return None
    if _is_json(text):
        members = _decode(text)
        if not isinstance(members, dict):
            raise BadRequest("the body is not a JSON object with 'key'")
        return members.get("key")
    return dict(_fields(text)).get("key")


def read_logs(body: bytes, limits: Limits) -> SentLogs:
    """Return the session's token and the messages of a decoded body: a JSON object, or a form as jQuery sends one.

    Raise BadRequest, TooLarge (`max_events`).
    """
    text = _text(body)
    if not text:
        raise BadRequest('the body is empty: send {"session", "messages"} as JSON or as a form')
    sent = _read_json(text, limits) if _is_json(text) else _read_form(text, limits)
    sent.digest = hashlib.sha256(body).digest()
    sent.size = len(body)
    return sent


def _text(body: bytes) -> bytes:
    return body.removeprefix(_BOM).strip(_SPACE)


def _is_json(text: bytes) -> bool:
    return text.startswith(_JSON_STARTS)


def _too_many(limits: Limits) -> TooLarge:
    return TooLarge(f"the request has more than max_events = {limits.max_events} messages")


def _check_count(messages: Sized, limits: Limits) -> None:
    if len(messages) > limits.max_events:
        raise _too_many(limits)


def _decode(text: bytes) -> Any:
    """Return a JSON value. What msgspec does not read, halves of surrogate pairs, bad UTF-8, huge numbers, is read
    slowly.
    """
    try:
        return _ANY.decode(text)
    except RecursionError:
        raise BadRequest("malformed JSON: it is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return _LENIENT.decode(text.decode("utf-8", "replace"))
    except RecursionError:
        raise BadRequest("malformed JSON: it is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"malformed JSON: {error}") from None


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_LENIENT = json.JSONDecoder(parse_int=_parse_int, parse_constant=_refuse_constant)


def _read_json(text: bytes, limits: Limits) -> SentLogs:
    # Anyone may send a body, as the session that it is for is within it: no more is decoded than a sound one can hold.
    if has_more_than(text, _VALUES_A_MESSAGE * limits.max_events + _MAX_FURTHER_FIELDS, b",[{"):
        raise _too_many(limits)
    try:
        good = _BODY.decode(text)
    except _DECODE_ERRORS:
        pass
    else:
        if isinstance(good.messages, UnsetType):
            return SentLogs(session=good.session or None)
        _check_count(good.messages, limits)
        return SentLogs(session=good.session or None, logs=good.messages, indexes=range(len(good.messages)))
    body = _decode(text)
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object with 'session' and 'messages'")
    messages = body.get("messages")
    session = body.get("session") or None
    if not isinstance(messages, list):
        return SentLogs(session=session)
    _check_count(messages, limits)
    return SentLogs(session=session, logs=[_read_log(message) for message in messages], indexes=range(len(messages)))


def _read_log(sent: Any) -> LogMessage | InvalidMessage:
    if not isinstance(sent, dict):
        return InvalidMessage(
            f"Message is not an object with level, timestamp and message: {excerpt(sent)}", "not_an_object"
        )
    level, timestamp, message = sent.get("level"), sent.get("timestamp"), sent.get("message")
    if level is None:
        return InvalidMessage("Missing log level", "missing_level")
    if level not in _LEVELS:
        return InvalidMessage(f"Invalid log level: {excerpt(level)}", "invalid_level")
    if timestamp is None or timestamp == "":
        return InvalidMessage("Missing timestamp", "missing_timestamp")
    time_ms = _integer(timestamp)
    if time_ms is None:
        return InvalidMessage(f"Timestamp is not an integer of milliseconds: {excerpt(timestamp)}", "invalid_timestamp")
    if not isinstance(message, str):
        return InvalidMessage("Message is not a string", "invalid_message")
    return LogMessage(level, time_ms, _unicode(message))


def _integer(value: Any) -> int | None:
    """Return a whole number, as JSON has it in any spelling or as digits in text; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _unicode(text: str) -> str:
    """Return the text with U+FFFD for halves of surrogate pairs, as browsers send it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def excerpt(value: Any) -> str:
    """Return the beginning of a client's value, as JSON unless it is text; of a container only what it is."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and value.bit_length() > _EXCERPT_BITS:
        return f"a number of more than {_EXCERPT_BITS} bits"
    text = _unicode(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + "…"


# Forms: session=T&messages[0][level]=info&messages[0][timestamp]=1&messages[0][message]=a, percent-encoded.


def _fields(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")
    except ValueError as error:
        raise BadRequest(f"malformed form: {error}") from None


def _read_form(text: bytes, limits: Limits) -> SentLogs:
    if b"=" not in text:
        raise BadRequest("the body is neither a JSON object nor a form")
    fields = text.count(b"&") + 1
    most = 4 * limits.max_events + _MAX_FURTHER_FIELDS
    if fields > most:
        raise TooLarge(f"the form has {fields} fields; with max_events = {limits.max_events} it may have {most}")
    session: str | None = None
    messages: dict[int, Any] = {}
    for name, value in _fields(text):
        if name == "session":
            session = value or None
        elif name == "messages":
            raise BadRequest("'messages' is not a list; in a form it is messages[0][level] and so on")
        elif name.startswith("messages["):
            _put_field(messages, name, value)
    if not messages and session is None:
        return SentLogs()
    # A list without members is nothing at all in a form: a session alone is what jQuery makes of one.
    _check_count(messages, limits)
    indexes = sorted(messages)
    return SentLogs(session=session, logs=[_read_log(messages[index]) for index in indexes], indexes=indexes)


def _put_field(messages: dict[int, Any], name: str, value: str) -> None:
    """Put the value of `messages[index][member]` in its place; of a field that comes twice the last one counts."""
    index, closed, rest = name.removeprefix("messages[").partition("]")
    if not closed or not index.isascii() or not index.isdigit() or len(index) > _MAX_INDEX_DIGITS:
        raise BadRequest(
            f"{excerpt(name)} has no index: in a form 'messages' is messages[0][level] and so on, "
            f"with at most {_MAX_INDEX_DIGITS} digits"
        )
    at = int(index)
    if not rest:
        messages[at] = value
        return
    member, closed, deeper = rest.removeprefix("[").partition("]")
    if not closed or not rest.startswith("["):
        raise BadRequest(f"{excerpt(name)} is malformed: in a form 'messages' is messages[0][level] and so on")
    log = messages.get(at)
    if not isinstance(log, dict):
        log = messages[at] = {}
    log[member] = {} if deeper else value


# Events.


def messages_to_batch(
    logs: Sequence[LogMessage | InvalidMessage], indexes: Sequence[int], *, size: int, received_ns: int, limits: Limits
) -> ParsedBatch:
    """Return the messages as a batch of events, and those refused; the same again whenever it is given the same.

    `size` is that of the body in bytes.
    """
    now_ms = received_ns // _NS_PER_MS
    oldest_ms, newest_ms = now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS
    encode = _ENCODER.encode
    lines: list[bytes] = []
    times: list[int] = []
    rejections: list[Rejection] = []
    for index, log in zip(indexes, logs, strict=True):
        if isinstance(log, InvalidMessage):
            rejections.append(Rejection(index, log.reason, log.code))
            continue
        time_ms = log.timestamp
        if not oldest_ms <= time_ms <= newest_ms:
            what, code = (
                ("too old", "timestamp_too_old")
                if time_ms < oldest_ms
                else ("too far in the future", "timestamp_in_future")
            )
            rejections.append(Rejection(index, f"Message timestamp is {what}: {_moment(time_ms)}", code))
            continue
        line = encode(_StoredMessage(log.level, log.message))
        if len(line) > limits.max_event_bytes:
            reason = f"Message is too large: it takes {len(line)} bytes; max_event_bytes is {limits.max_event_bytes}"
            rejections.append(Rejection(index, reason, "event_too_large", time_ms * _NS_PER_MS))
            continue
        lines.append(line)
        times.append(time_ms)
    return ParsedBatch(
        events=b"\n".join((*lines, b"")),
        times=np.array(times, dtype=np.int64) * _NS_PER_MS,
        count=len(lines),
        processed_bytes=size,
        rejections=tuple(rejections),
    )


def _moment(time_ms: int) -> str:
    """Return the time as `YYYY-MM-DD HH:MM:SS UTC`; as a number where the calendar does not reach."""
    try:
        moment = _EPOCH + timedelta(seconds=time_ms // 1000)
    except OverflowError:
        return f"{excerpt(time_ms)} ms since 1970-01-01 00:00:00 UTC"
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"
