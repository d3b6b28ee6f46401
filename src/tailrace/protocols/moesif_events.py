"""Moesif's API calls and custom actions: which of a body are valid, and what they are as events.

A good body is proven by a native decode of the required fields, and its bytes are stored as they came. Only events that
this refuses, or that need a change, are looked at one by one.
"""

import base64
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct, UnsetType
from msgspec.structs import replace
from numpy.typing import NDArray

from tailrace.events import BadRequest, ParsedBatch, Rejection
from tailrace.parsing import Limits, TimeRule, parse_json
from tailrace.parsing.sanitize import sanitize
from tailrace.parsing.structure import line_ends
from tailrace.parsing.times import read_times

MAX_EVENT_BYTES = 1024 * 1024  # Moesif's limit for one event: beyond, large bodies of it are cut
MAX_TRANSACTION_ID_CHARS = 256  # as each is remembered; Moesif's have 36
TRUNCATED_BODY_BYTES = 450 * 1024  # what is stored of a body that is truncated, before base64

_DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_UNTIMED = TimeRule(field="_moesif_time")  # no event has this: times are read from request.time
_TIMED = TimeRule(field="request.time")

Members = dict[str, Raw]
MEMBERS = msgspec.json.Decoder(Members)


class EventRefused(Exception):
    """Why an event or an entity is not valid."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class CheckedEvents(Struct, frozen=True, eq=False):
    """The valid events of a body, and what was refused."""

    parsed: ParsedBatch
    transaction_ids: Sequence[str | None]  # one an event


class EventSender(Struct, frozen=True):
    """What is known of a request beside its body."""

    peer: str  # IP address
    received_ns: int
    max_age_s: float  # of an event; 0 takes every age


# The fields that an event which needs no change has, as native decoders.

_Text = Annotated[str, Meta(min_length=1)]
_Id = str | None
_TransactionId = Annotated[str, Meta(max_length=MAX_TRANSACTION_ID_CHARS)] | None
_NEVER = Annotated[int, Meta(ge=1, le=0)]  # no value is this: a field of such a type may not be there


class _CallRequest(Struct, gc=False, frozen=True):
    time: Raw
    uri: _Text
    verb: _Text
    ip_address: _Text


class _CallResponse(Struct, gc=False, frozen=True):
    time: _Text
    status: int


class _Ids(Struct, gc=False, frozen=True, kw_only=True):
    transaction_id: _TransactionId = None
    user_id: _Id = None
    company_id: _Id = None
    subscription_id: _Id = None
    anonymous_id: _Id = None
    session_token: _Id = None
    own_time: _NEVER | UnsetType = msgspec.field(default=msgspec.UNSET, name="_time")


class _Call(_Ids, gc=False, frozen=True, kw_only=True):
    request: _CallRequest
    response: _CallResponse | None = None


class _ActionRequest(Struct, gc=False, frozen=True):
    uri: _Text
    ip_address: _Text
    time: Raw = Raw(b"")


class _Action(_Ids, gc=False, frozen=True, kw_only=True):
    action_name: _Text
    request: _ActionRequest


IDS = ("transaction_id", "user_id", "company_id", "subscription_id", "anonymous_id", "session_token")


class EventKind(Struct, frozen=True, eq=False):
    """API calls or actions."""

    name: str  # `event_type` of the events
    decoder: msgspec.json.Decoder[Any]
    check: Callable[[Members, Members], None]  # of an event and its request; raises EventRefused, may change both
    needs_time: bool


class _CompletedEvent(Struct, frozen=True):
    """An event that was checked on its own, with what was missing filled in."""

    line: bytes
    time: bytes  # JSON text of request.time, empty where there is none
    transaction_id: str | None


def check_events(body: bytes, kind: EventKind, *, single: bool, sender: EventSender, limits: Limits) -> CheckedEvents:
    """Parse a decoded body into valid events, which is an array, or one object where `single`.

    Raise BadRequest for a body that is not that, TooLarge (`max_events`).
    """
    parsed = parse_whole(body, single=single, limits=limits, received_ns=sender.received_ns)
    marked, heads = _prefilter(parsed.events, kind, limits)
    if not marked and heads is not None:
        return _checked_in_bulk(parsed, heads, kind, sender)
    return _checked_one_by_one(parsed, marked, kind, sender, limits)


def parse_whole(body: bytes, *, single: bool, limits: Limits, received_ns: int) -> ParsedBatch:
    """Parse an array, or one object where `single`, whose texts may be of any length. Raise BadRequest, TooLarge."""
    first = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not first:
        raise BadRequest(f"the body is empty; {_expected(single)} is expected")
    if (first == b"{") != single or first not in b"{[":
        sent = "an array" if first == b"[" else "an object" if first == b"{" else "neither an object nor an array"
        raise BadRequest(f"the body is {sent}; {_expected(single)} is expected here")
    # Long texts are for the caller: a request's body is truncated rather than replaced.
    larger_limits = replace(limits, max_string_bytes=limits.max_body_bytes, max_event_bytes=limits.max_body_bytes)
    parsed = parse_json(body, times=_UNTIMED, limits=larger_limits, received_ns=received_ns)
    if single and parsed.count + len(parsed.rejections) != 1:
        raise BadRequest(f"the body holds {parsed.count + len(parsed.rejections)} objects; one is expected here")
    return parsed


def _expected(single: bool) -> str:
    return "one JSON object" if single else "a JSON array of objects"


def _prefilter(ndjson: bytes, kind: EventKind, limits: Limits) -> tuple[set[int], Sequence[Any] | None]:
    """Return the positions of the events that must be checked one by one, and the required fields of all.

    The latter are None where those of an event are not valid.
    """
    heads: Sequence[Any] | None
    try:
        heads = kind.decoder.decode_lines(ndjson)
    except _DECODE_ERRORS:
        heads = None
    marked: set[int] = set()
    if heads is None:
        marked |= {position for position, line in enumerate(ndjson.split(b"\n")[:-1]) if not _fits(line, kind)}
    if len(ndjson) > _most_bytes(limits):
        marked.update(np.flatnonzero(np.diff(line_ends(ndjson), prepend=-1) - 1 > _most_bytes(limits)).tolist())
    # In steps, for a pattern that ignores case is slow, and SDKs log another header of that prefix with every call.
    lowered = ndjson.lower()
    if b'"x-moesif-' in lowered and any(name in lowered for name in _COPIED_NAMES):
        starts = [match.start() for match in _COPIED.finditer(ndjson)]
        marked.update(np.searchsorted(line_ends(ndjson), starts).tolist() if starts else ())
    return marked, heads


def _most_bytes(limits: Limits) -> int:
    """Return the size in bytes up to which an event is within every limit."""
    return min(MAX_EVENT_BYTES, limits.max_event_bytes, limits.max_string_bytes)


def _fits(line: bytes, kind: EventKind) -> bool:
    try:
        kind.decoder.decode(line)
    except _DECODE_ERRORS:
        return False
    return True


def _checked_in_bulk(parsed: ParsedBatch, heads: Sequence[Any], kind: EventKind, sender: EventSender) -> CheckedEvents:
    """Return the events, which are valid but perhaps for their times."""
    return _with_times(
        parsed,
        times=list(map(attrgetter("request.time"), heads)),
        transaction_ids=list(map(attrgetter("transaction_id"), heads)),
        indexes=event_indexes(parsed),
        kind=kind,
        sender=sender,
    )


def _checked_one_by_one(
    parsed: ParsedBatch, marked: set[int], kind: EventKind, sender: EventSender, limits: Limits
) -> CheckedEvents:
    lines = parsed.events.split(b"\n")[:-1]
    indexes = event_indexes(parsed)
    rejections = list(parsed.rejections)
    good: list[bytes] = []
    good_indexes: list[int] = []
    times: list[bytes | Raw] = []
    ids: list[str | None] = []
    for position, line in enumerate(lines):
        if position not in marked:
            head = kind.decoder.decode(line)
            times.append(head.request.time)
            ids.append(head.transaction_id)
            good.append(line)
        else:
            try:
                changed = _completed(line, kind, sender, limits)
            except EventRefused as refused:
                rejections.append(Rejection(indexes[position], refused.reason, refused.code, event=line))
                continue
            times.append(changed.time)
            ids.append(changed.transaction_id)
            good.append(changed.line)
        good_indexes.append(indexes[position])
    whole = ParsedBatch(
        joined(good), parsed.times[: len(good)], len(good), parsed.processed_bytes, in_order(rejections)
    )
    return _with_times(whole, times=times, transaction_ids=ids, indexes=good_indexes, kind=kind, sender=sender)


def _with_times(
    parsed: ParsedBatch,
    *,
    times: Sequence[bytes | Raw],
    transaction_ids: Sequence[str | None],
    indexes: Sequence[int],
    kind: EventKind,
    sender: EventSender,
) -> CheckedEvents:
    """Return the events with their times; those whose time is missing, unreadable or too old are refused."""
    read = read_times(times, _TIMED, sender.received_ns)
    refused = {position: (reason, "invalid_time") for position, reason in read.unreadable.items()}
    if kind.needs_time and b"null" in b"".join(times):
        missing = ("request.time is required", "missing_field")
        refused |= {position: missing for position, time in enumerate(times) if bytes(time) == b"null"}
    if sender.max_age_s:
        oldest = sender.received_ns - int(sender.max_age_s * 1_000_000_000)
        too_old = (f"the event is older than moesif_max_age_s = {sender.max_age_s:.15g} s", "too_old")
        refused |= dict.fromkeys(np.flatnonzero(read.ns < oldest).tolist(), too_old)
    if not refused:
        timed = ParsedBatch(parsed.events, read.ns, parsed.count, parsed.processed_bytes, parsed.rejections)
        return CheckedEvents(timed, transaction_ids)
    lines = parsed.events.split(b"\n")[:-1]
    rejections = [
        *parsed.rejections,
        *(Rejection(indexes[at], reason, code, event=lines[at]) for at, (reason, code) in refused.items()),
    ]
    good = [position for position in range(parsed.count) if position not in refused]
    remaining = ParsedBatch(
        joined([lines[position] for position in good]),
        read.ns[good],
        len(good),
        parsed.processed_bytes,
        in_order(rejections),
    )
    return CheckedEvents(remaining, [transaction_ids[position] for position in good])


def event_indexes(parsed: ParsedBatch) -> Sequence[int]:
    """Return the index in what the client sent of each event of a batch."""
    if not parsed.rejections:
        return range(parsed.count)
    refused = {rejection.index for rejection in parsed.rejections}
    return [index for index in range(parsed.count + len(refused)) if index not in refused]


def joined(lines: Sequence[bytes]) -> bytes:
    """Return lines as NDJSON."""
    return b"\n".join(lines) + b"\n" if lines else b""


def in_order(rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Return rejections by index."""
    return tuple(sorted(rejections, key=attrgetter("index")))


def without(parsed: ParsedBatch, dropped: Sequence[int]) -> ParsedBatch:
    """Return a batch without the events at some positions."""
    kept = np.delete(np.arange(parsed.count), dropped)
    lines = parsed.events.split(b"\n")
    times: NDArray[np.int64] = parsed.times[kept]
    events = joined([lines[position] for position in kept.tolist()])
    return ParsedBatch(events, times, len(kept), parsed.processed_bytes, parsed.rejections)


# One event.


def _completed(line: bytes, kind: EventKind, sender: EventSender, limits: Limits) -> _CompletedEvent:
    """Return an event with what is missing filled in. Raise EventRefused."""
    event = MEMBERS.decode(line)
    request = as_object(event, "request")
    if request is None:
        raise EventRefused("request is required", "missing_field")
    kind.check(event, request)
    if _is_absent(request, "ip_address"):
        request["ip_address"] = _raw(sender.peer)
    _copy_headers(event, request)
    for name in IDS:
        as_text(event, name)
    transaction_id = text_of(event.get("transaction_id"))
    if transaction_id is not None and len(transaction_id) > MAX_TRANSACTION_ID_CHARS:
        raise EventRefused(f"transaction_id has at most {MAX_TRANSACTION_ID_CHARS} characters", "invalid_field")
    if "_time" in event:
        event["_user_time"] = event.pop("_time")
    if len(line) > _most_bytes(limits):
        for name in ("request", "response"):
            _truncate_body(request if name == "request" else as_object(event, name), event, name, line, limits)
    event["request"] = Raw(msgspec.json.encode(request))
    stored = within_limits(msgspec.json.encode(event), limits)
    return _CompletedEvent(stored, bytes(request.get("time", b"")), transaction_id)


def within_limits(line: bytes, limits: Limits) -> bytes:
    """Return an event to which the server's own limits are applied. Raise EventRefused."""
    if len(line) > limits.max_event_bytes:
        raise EventRefused(
            f"the event has {len(line)} bytes; max_event_bytes is {limits.max_event_bytes}", "event_too_large"
        )
    sanitized = sanitize(line, 0, len(line), limits)
    if sanitized.event is None:
        raise EventRefused(sanitized.reason, sanitized.code)
    return sanitized.event


def _check_call(event: Members, request: Members) -> None:
    _require_time(request, "request.time")
    _require_text(request, "request.uri")
    _require_text(request, "request.verb")
    response = as_object(event, "response")
    if response is None:
        return
    _require_time(response, "response.time")
    event["response"] = Raw(msgspec.json.encode({**response, "status": Raw(b"%d" % _status(response))}))


def _check_action(event: Members, request: Members) -> None:
    _require_text(event, "action_name")
    _require_text(request, "request.uri")


CALL = EventKind("api_call", msgspec.json.Decoder(_Call), _check_call, needs_time=True)
ACTION = EventKind("action", msgspec.json.Decoder(_Action), _check_action, needs_time=False)


def _status(response: Members) -> int:
    sent = bytes(response.get("status", b"null"))
    if sent == b"null":
        raise EventRefused("response.status is required", "missing_field")
    digits = text_of(response["status"])
    try:
        if digits is None or _INTEGER.fullmatch(digits.strip()) is None:
            raise ValueError(digits)
        return int(float(digits))
    except ValueError:
        quoted = sent[:40].decode("utf-8", "replace")
        raise EventRefused(f"response.status is an HTTP status like 200, not {quoted}", "invalid_field") from None


_INTEGER = re.compile(r"-?\d{1,9}(\.0+)?")


def _require_time(members: Members, path: str) -> None:
    name = path.rpartition(".")[2]
    if _is_absent(members, name):
        raise EventRefused(f"{path} is required", "missing_field")


def _require_text(members: Members, path: str) -> None:
    name = path.rpartition(".")[2]
    if _is_absent(members, name):
        raise EventRefused(f"{path} is required", "missing_field")
    if bytes(members[name])[:1] != b'"':
        quoted = bytes(members[name])[:40].decode("utf-8", "replace")
        raise EventRefused(f"{path} is text, not {quoted}", "invalid_field")


def _is_absent(members: Members, name: str) -> bool:
    """Whether there is no such member, or it is null or the empty text."""
    return bytes(members.get(name, b"null")) in (b"null", b'""')


def as_object(members: Members, name: str) -> Members | None:
    """Return a member that is an object, None where it is absent or null. Raise EventRefused for anything else."""
    value = bytes(members.get(name, b"null"))
    if value == b"null":
        return None
    if value[:1] != b"{":
        raise EventRefused(f"{name} is an object, not {value[:40].decode('utf-8', 'replace')}", "invalid_field")
    return MEMBERS.decode(value)


def text_of(value: Raw | bytes | None) -> str | None:
    """Return the text that a string or a number is; None for anything else."""
    sent = bytes(value or b"")
    if sent[:1] == b'"':
        return msgspec.json.decode(sent, type=str)
    return sent.decode("ascii") if sent[:1] in _NUMBER_STARTS and sent else None


_NUMBER_STARTS = b"-0123456789"


def as_text(members: Members, name: str) -> None:
    """Make a member that is a number text."""
    value = members.get(name)
    if value is not None and bytes(value)[:1] in _NUMBER_STARTS:
        members[name] = _raw(bytes(value).decode("ascii"))


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


# What the proxy that came before the SDKs sent in headers of the logged request.
_COPIES = {
    "x-moesif-tags": "tags",
    "x-moesif-user-id": "user_id",
    "x-moesif-session-token": "session_token",
    "x-moesif-api-version": "api_version",  # of the request
}
_COPIED_NAMES = tuple(b'"%s"' % name.encode() for name in _COPIES)
_COPIED = re.compile(rb'"x-moesif-(?:tags|user-id|session-token|api-version)"', re.IGNORECASE)


def _copy_headers(event: Members, request: Members) -> None:
    headers = bytes(request.get("headers", b""))
    if headers[:1] != b"{" or not _COPIED.search(headers):
        return
    for name, value in MEMBERS.decode(headers).items():
        field = _COPIES.get(name.lower())
        if field is None or not text_of(value):
            continue
        into = request if field == "api_version" else event
        if _is_absent(into, field):
            into[field] = value


def _truncate_body(part: Members | None, event: Members, name: str, line: bytes, limits: Limits) -> None:
    """Truncate the body of a request or a response where the event, or that body, is too large."""
    body = bytes(part.get("body", b"")) if part is not None else b""
    too_large = len(line) > MAX_EVENT_BYTES and len(body) > TRUNCATED_BODY_BYTES
    too_long = body[:1] == b'"' and len(body) - 2 > limits.max_string_bytes
    if part is None or not (too_large or too_long):
        return
    text = msgspec.json.decode(body, type=str) if body[:1] == b'"' else None
    is_base64 = (text_of(part.get("transfer_encoding")) or "").lower() == "base64"
    if text is not None and is_base64:
        beginning = text[: TRUNCATED_BODY_BYTES // 3 * 4]
    else:
        beginning = base64.b64encode((body if text is None else text.encode())[:TRUNCATED_BODY_BYTES]).decode()
    part["body"] = _raw(beginning)
    part["transfer_encoding"] = _raw("base64")
    part["body_truncated"] = _raw(True)
    part["body_bytes"] = _raw(len(body) if text is None else len(text.encode()))  # as it was logged
    if name == "response":
        event[name] = _raw(part)
