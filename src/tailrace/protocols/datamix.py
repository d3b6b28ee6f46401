"""Datamix: a key starts a session, and each request with logs is answered with the session's next token."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Sequence, Sized
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from tailrace.access import KeyKind
from tailrace.access.sessions import InvalidSession, StaleSession
from tailrace.events import (
    BadRequest,
    Forbidden,
    NotFound,
    ParsedBatch,
    Rejection,
    TailraceError,
    TooLarge,
    Unauthorized,
)
from tailrace.parsing import Limits, decode_body
from tailrace.parsing.prefilter import has_more_than
from tailrace.protocols.http import (
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    BodyDoc,
    IngestService,
    ParameterDoc,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
)

MAX_KEY_BODY_BYTES = 64 * 1024  # of a request for a session, decoded
MAX_AGE_MS = 10 * 60 * 1000  # a timestamp may lie this far before the time at which the request was received
MAX_AHEAD_MS = 10 * 1000  # and this far after it
DEFAULT_RETRY_AFTER_S = 1

_NAME = "datamix"
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_PARTS = ("system", "application", "environment")  # of a destination
_NS_PER_MS = 1_000_000
_SHOWN = 60  # characters of a client's value in a reason
_SHOWN_BITS = 128  # of a number
_MAX_INDEX_DIGITS = 15
_MAX_DIGITS = 400  # of an integer that is read as one
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_JSON_STARTS = (b"{", b"[", b'"')
_MAX_FURTHER_FIELDS = 10_000  # of a form, beside the four that each message may have
_VALUES_A_MESSAGE = 16  # commas and brackets of a message in JSON; with its four members it needs four
_NO_STORE = ((b"cache-control", b"no-store"),)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_REFUSED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class DatamixOptions(Struct, frozen=True):
    """What an operator may choose."""

    stale_token: Annotated[
        Literal["reject", "accept"],
        Meta(description="What to do with a Datamix session token that a newer one has replaced."),
    ] = "reject"


class InvalidKey(Forbidden):
    code = "invalid_key"


class WrongDestination(Forbidden):
    code = "wrong_destination"


class Started(Struct):
    """The answer to a new session."""

    system: str
    application: str
    environment: str
    token: str
    expires: int  # ms since the Unix epoch


class SessionRequest(Struct):
    """What starts a session, where the key is not in the query."""

    key: str


class RejectedLog(Struct):
    """One refused message, as the answer has it."""

    index: str  # of the message in what was sent, from 0: text, as in the document's example
    message: str


class Logged(Struct):
    """The answer to a request with logs."""

    session: str
    system: str
    application: str
    environment: str
    processed: int
    rejected: list[RejectedLog]


class DatamixError(Struct):
    """The body of every error."""

    error: str
    message: str


class LogMessage(Struct):
    """A message whose fields are all of their types; its time is judged against when it was received."""

    level: Literal["debug", "info", "warn", "error", "fatal"]
    timestamp: int  # ms since the Unix epoch
    message: str


class Flaw(Struct, frozen=True):
    """Why a message is refused at any time."""

    reason: str
    code: str


class SentLogs(Struct):
    """The body of a request with logs."""

    session: object = None  # as sent; None when there is none
    logs: Sequence[LogMessage | Flaw] | None = None  # None when there is no list of messages
    indexes: Sequence[int] = ()  # of the logs, as the client counts them
    digest: bytes = b""  # of the decoded body
    size: int = 0  # of the decoded body in bytes


class LogsBody(Struct):
    """A body in which everything is as documented."""

    session: str | UnsetType | None = UNSET
    messages: list[LogMessage] | UnsetType = UNSET


class _Stored(Struct):
    level: str
    message: str


_BODY = msgspec.json.Decoder(LogsBody)
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


async def create_session(request: Request, service: IngestService) -> Response:
    """`POST /sessions`: a session for the destination of the key, which comes in the body or in the query."""
    wire = await request.read()
    if len(wire) > MAX_KEY_BODY_BYTES:
        raise TooLarge(f"a request for a session has at most {MAX_KEY_BODY_BYTES} bytes")
    key = _key(decode_body(wire, _encoding(request), MAX_KEY_BODY_BYTES)) or request.query_values().get("key")
    if not key:
        raise InvalidKey("no API key: send it as 'key', in a JSON object, a form or the query")
    if not isinstance(key, str):
        raise InvalidKey("the API key is text")
    try:
        grant = service.access.authenticate_key("datamix", key)
    except Unauthorized as error:
        raise InvalidKey(error.message) from None
    if service.closed is not None:
        raise service.closed
    sessions = service.sessions
    sessions.forget_expired(request.received_ns)
    token = sessions.start(grant, request.received_ns)
    answer = Started(*_split(grant.destination), token=sessions.sign(token), expires=token.expires_ms)
    return Response(200, _ENCODER.encode(answer), headers=_NO_STORE)


async def add_logs(request: Request, service: IngestService) -> Response:
    """`POST /destinations/{system.application.environment}/logs`, with a session's token and a list of messages."""
    destination = request.params["destination"]
    parts = _split(destination)
    wire = await request.read()
    encoding = _encoding(request)
    size = service.limits.max_body_bytes if encoding else len(wire)
    sent = await service.offload(partial(_read_wire, wire, encoding, service.limits), WORST_CASE_FACTOR * size)
    text = sent.session or request.query_values().get("session")
    if not text:
        raise InvalidSession("no session token: send it as 'session', beside 'messages' or in the query")
    if not isinstance(text, str):
        raise InvalidSession("the session token is text")
    sessions = service.sessions
    token = sessions.read(text, request.received_ns)
    if token.destination != destination:
        raise WrongDestination(f"the session is for another destination than {_shown(destination)}")
    if sent.logs is None:
        raise BadRequest("'messages' is missing: send a list of {level, timestamp, message}")

    async with sessions.hold(token) as live:
        try:
            grant = service.access.key_grant(token.key_id)
        except Unauthorized as error:
            raise InvalidKey(f"the session has ended: {error.message}") from None
        before = live.repeats(token, sent.digest)
        if before is not None:
            parsed = await service.offload(
                partial(_judge, sent, before.received_ns, service.limits), WORST_CASE_FACTOR * sent.size
            )
            following = before.following
            delay_s = 0.0
        else:
            if live.is_stale(token) and request.options.stale_token == "reject":
                raise StaleSession(
                    "the session token was used already: send the one from the last answer, one request at a time"
                )
            live.check_pace(sent.size)
            parsed = await service.offload(
                partial(_judge, sent, request.received_ns, service.limits), WORST_CASE_FACTOR * sent.size
            )
            labels = {**dict(zip(_PARTS, parts, strict=True)), "session": token.session_id}
            dataset = await service.ensure_dataset(destination, organisation=grant.organisation, key=grant.key_id)
            await service.ingest(parsed, dataset, request.outcome, received_ns=request.received_ns, labels=labels)
            following = live.use(token, sent.digest, request.received_ns)
            delay_s = live.charge(sent.size)
    session = sessions.sign(following)

    def answer() -> bytes:
        rejected = [RejectedLog(str(each.index), each.reason) for each in parsed.rejections]
        return _ENCODER.encode(Logged(session, *parts, processed=parsed.count, rejected=rejected))

    body = await service.offload(answer, REJECTION_WORK_BYTES * len(parsed.rejections))
    if delay_s > 0:
        await asyncio.sleep(delay_s)
    return Response(200, body, headers=_NO_STORE)


def _encoding(request: Request) -> str:
    return (request.header(b"content-encoding") or b"").decode("latin-1")


def _split(destination: str) -> tuple[str, str, str]:
    """Return the system, application and environment of a destination; raise NotFound."""
    parts = destination.split(".")
    if len(parts) != 3 or not all(parts):
        raise NotFound(f"{_shown(destination)} is no destination, which is like system.application.environment")
    return parts[0], parts[1], parts[2]


# Bodies. The content type tells nothing: jQuery labels JSON as a form when it is given as text.


def _key(body: bytes) -> object:
    text = _text(body)
    if not text:
        return None
    if _is_json(text):
        members = _decode(text)
        if not isinstance(members, dict):
            raise BadRequest("the body is not a JSON object with 'key'")
        return members.get("key")
    return dict(_fields(text)).get("key")


def _read_wire(wire: bytes, encoding: str, limits: Limits) -> SentLogs:
    return read_logs(decode_body(wire, encoding, limits.max_body_bytes), limits)


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
    except _REFUSED:
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
    return SentLogs(session=session, logs=[_read_log(each) for each in messages], indexes=range(len(messages)))


def _read_log(sent: Any) -> LogMessage | Flaw:
    if not isinstance(sent, dict):
        return Flaw(f"Message is not an object with level, timestamp and message: {_shown(sent)}", "not_an_object")
    level, timestamp, message = sent.get("level"), sent.get("timestamp"), sent.get("message")
    if level is None:
        return Flaw("Missing log level", "missing_level")
    if level not in _LEVELS:
        return Flaw(f"Invalid log level: {_shown(level)}", "invalid_level")
    if timestamp is None or timestamp == "":
        return Flaw("Missing timestamp", "missing_timestamp")
    time_ms = _integer(timestamp)
    if time_ms is None:
        return Flaw(f"Timestamp is not an integer of milliseconds: {_shown(timestamp)}", "invalid_timestamp")
    if not isinstance(message, str):
        return Flaw("Message is not a string", "invalid_message")
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


def _shown(value: Any) -> str:
    """Return the beginning of a client's value, as JSON unless it is text; of a container only what it is."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"a number of more than {_SHOWN_BITS} bits"
    text = _unicode(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


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
    found: dict[int, Any] = {}
    for name, value in _fields(text):
        if name == "session":
            session = value or None
        elif name == "messages":
            raise BadRequest("'messages' is not a list; in a form it is messages[0][level] and so on")
        elif name.startswith("messages["):
            _put(found, name, value)
    if not found and session is None:
        return SentLogs()
    # A list without members is nothing at all in a form: a session alone is what jQuery makes of one.
    _check_count(found, limits)
    indexes = sorted(found)
    return SentLogs(session=session, logs=[_read_log(found[index]) for index in indexes], indexes=indexes)


def _put(found: dict[int, Any], name: str, value: str) -> None:
    """Put the value of `messages[index][member]` in its place; of a field that comes twice the last one counts."""
    index, closed, rest = name.removeprefix("messages[").partition("]")
    if not closed or not index.isascii() or not index.isdigit() or len(index) > _MAX_INDEX_DIGITS:
        raise BadRequest(
            f"{_shown(name)} has no index: in a form 'messages' is messages[0][level] and so on, "
            f"with at most {_MAX_INDEX_DIGITS} digits"
        )
    at = int(index)
    if not rest:
        found[at] = value
        return
    member, closed, deeper = rest.removeprefix("[").partition("]")
    if not closed or not rest.startswith("["):
        raise BadRequest(f"{_shown(name)} is malformed: in a form 'messages' is messages[0][level] and so on")
    log = found.get(at)
    if not isinstance(log, dict):
        log = found[at] = {}
    log[member] = {} if deeper else value


# Verdicts.


def _judge(sent: SentLogs, received_ns: int, limits: Limits) -> ParsedBatch:
    return judge(sent.logs or (), sent.indexes, size=sent.size, received_ns=received_ns, limits=limits)


def judge(
    logs: Sequence[LogMessage | Flaw], indexes: Sequence[int], *, size: int, received_ns: int, limits: Limits
) -> ParsedBatch:
    """Return the messages as events, and those refused; the same again whenever it is given the same.

    `size` is that of the body in bytes.
    """
    now_ms = received_ns // _NS_PER_MS
    oldest_ms, newest_ms = now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS
    encode = _ENCODER.encode
    lines: list[bytes] = []
    times: list[int] = []
    rejections: list[Rejection] = []
    for index, log in zip(indexes, logs, strict=True):
        if isinstance(log, Flaw):
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
        line = encode(_Stored(log.level, log.message))
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
        return f"{_shown(time_ms)} ms since 1970-01-01 00:00:00 UTC"
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def render_error(error: TailraceError) -> Response:
    """Return an error as `{"error", "message"}`; 401 and 429 are not among the documented answers, 403 and 503 are."""
    status = {401: 403, 429: 503}.get(error.status, error.status)
    headers = list(_NO_STORE)
    if error.retry_after_s is not None or error.retryable:
        headers.append((b"retry-after", b"%d" % (error.retry_after_s or DEFAULT_RETRY_AFTER_S)))
    return Response(status, _ENCODER.encode(DatamixError(error.code, error.message)), headers=tuple(headers))


_FORM = "application/x-www-form-urlencoded"
_DOC_SESSION = RouteDoc(
    about="Starts a session for the destination of a key.",
    answers={200: Started},
    bodies={"application/json": BodyDoc(SessionRequest, {"key": "KEY"}), _FORM: BodyDoc(SessionRequest, "key=KEY")},
    refusals=(400, 403, 408, 413, 415, 503),
    parameters=(ParameterDoc("key", "The key, where the body has none."),),
    credential=False,
)
_LOG = {"level": "info", "timestamp": 1767323045000, "message": "hello"}
_DOC_LOGS = RouteDoc(
    about="Takes messages of a session; the answer has the session's next token.",
    answers={200: Logged},
    bodies={
        "application/json": BodyDoc(LogsBody, {"session": "TOKEN", "messages": [_LOG]}),
        _FORM: BodyDoc(
            {"type": "object", "properties": {"session": {"type": "string"}}},
            "session=TOKEN&messages[0][level]=info&messages[0][timestamp]=1767323045000&messages[0][message]=hello",
        ),
    },
    refusals=(400, 403, 404, 408, 413, 415, 503),
    parameters=(ParameterDoc("session", "The session's token, where the body has none."),),
    credential=False,
)

KEY = KeyKind(_NAME, "destination", parts=_PARTS)
PROTOCOL = Protocol(
    name=_NAME,
    title="Datamix",
    key=KEY,
    key_usage=(
        'Open:  SESSION=$(curl -sS {url}/datamix/sessions --data-urlencode "key={key}" | '
        r"""sed 's/.*"token":"\([^"]*\)".*/\1/')""",
        'Try:   curl -sS {url}/datamix/destinations/{target}/logs -d "session=$SESSION" -d "messages[0][level]=info" '
        '-d "messages[0][timestamp]=$(date +%s)000" -d "messages[0][message]=hello"',
    ),
    same_origin=("/sessions",),
    mount="/datamix",
    routes=(
        Route("POST", "/sessions", create_session, _DOC_SESSION),
        Route("POST", "/destinations/{destination}/logs", add_logs, _DOC_LOGS),
    ),
    render_error=render_error,
    options=DatamixOptions,
    own_paths=("/sessions", "/destinations"),
    hosts=("datamix.mixbook.com",),
    error=DatamixError,
)
