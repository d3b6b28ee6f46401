"""Bodies of the HTTP Event Collector as events: envelopes, and lines of text."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from tailrace.events import BadRequest
from tailrace.parsing import EventCollector, Limits, TimeRule, parse_json, time_member
from tailrace.parsing.times import read_time
from tailrace.protocols.doors.envelope import TIME, merged, numbered, timed

INCORRECT_INDEX = "incorrect_index"
RAW_TEXT = "_raw"  # the field of an event that is no object

_TIMES = TimeRule(field="time")
_PREFIX = "splunk"
_LINE = re.compile(rb"[^\r\n]+")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_TEXT = msgspec.json.Decoder(str)
_NULL = b"null"


class NoIndex(BadRequest):
    """Nothing says which dataset an event is for."""

    code = INCORRECT_INDEX


class _Refused(Exception):
    """An event that is refused, with the code of why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Destination:
    """Where the events of a request go, and the number of the first event for each dataset."""

    def __init__(self, index: str, default: Callable[[], str]) -> None:
        """Take the index that the request names, which prevails, and what gives the dataset of events without one."""
        self._index = index
        self._default = default
        self._known = ""  # what `default` gave
        self.first_numbers: dict[str, int] = {}

    def dataset(self, number: int, index: str = "") -> str:
        """Return the dataset of an event, which may name an index; raise NoIndex where nothing names one."""
        dataset = self._index or index or self._known
        if not dataset:
            try:
                dataset = self._known = self._default()
            except BadRequest as error:
                raise NoIndex(error.message) from None
        self.first_numbers.setdefault(dataset, number)
        return dataset


def collect_envelopes(
    body: bytes, collector: EventCollector, destination: Destination, *, limits: Limits, received_ns: int
) -> None:
    """Take a body of envelopes `{"time", "host", "source", "sourcetype", "index", "event", "fields"}`.

    They stand one after the other, with white space between them or without, or in an array. An event that is an
    object is taken as its fields, any other as `_raw`. Members of `fields`, and of the envelope, become fields too.

    Raise BadRequest where the body is one malformed event or an array that is none, and TooLarge.
    """
    envelope_limits = replace(limits, max_depth=limits.max_depth + 1)
    parsed = parse_json(body, times=_TIMES, limits=envelope_limits, received_ns=received_ns)
    for rejection in parsed.rejections:
        collector.refuse(rejection.index, rejection.reason, rejection.code)
    for number, line, time_ns in numbered(parsed):
        try:
            envelope = _OBJECT.decode(line)
            dataset, event = _event(envelope, number, destination, time_ns)
        except _Refused as error:
            collector.refuse(number, error.reason, error.code)
        else:
            collector.add(dataset, number, event)


def collect_lines(body: bytes, collector: EventCollector, destination: Destination, *, time_ns: int) -> None:
    """Take a body whose lines, but for empty ones, are each the field `_raw` of an event; raise NoIndex, TooLarge."""
    time = Raw(time_member(time_ns))
    for number, line in enumerate(_LINE.finditer(body)):
        try:
            text = line[0].decode()
        except UnicodeDecodeError as error:
            collector.refuse(number, f"the line is not UTF-8: {error}", "not_utf8")
        else:
            collector.add(destination.dataset(number), number, {RAW_TEXT: text, TIME: time})


def line_time(sent: str, received_ns: int) -> int:
    """Return the time of lines of text, as their request says it; raise BadRequest where that is no time."""
    time_ns = read_time(msgspec.json.encode(sent), _TIMES, received_ns) if sent else received_ns
    if isinstance(time_ns, str):
        raise BadRequest(time_ns)
    return time_ns


def _event(envelope: dict[str, Raw], number: int, destination: Destination, time_ns: int) -> tuple[str, dict[str, Any]]:
    """Return the dataset and the fields of an event; raise _Refused."""
    sent_time = envelope.pop("time", None)
    index = _index(envelope.pop("index", None))
    own = _own_fields(envelope.pop("event", None))
    more = _fields(envelope.pop("fields", None))
    event = merged(merged(own, more, f"{_PREFIX}.fields"), envelope, _PREFIX)
    try:
        dataset = destination.dataset(number, index)
    except NoIndex as error:
        raise _Refused(INCORRECT_INDEX, error.message) from None
    if TIME in event and (sent_time is None or bytes(sent_time) == _NULL):
        # Without a time of the envelope the event's own is its time, where it is one.
        own_ns = read_time(bytes(event[TIME]), _TIMES, time_ns)
        if isinstance(own_ns, int):
            return dataset, event
    return dataset, timed(event, time_ns)


def _index(sent: Raw | None) -> str:
    if sent is None or bytes(sent) == _NULL:
        return ""
    try:
        return _TEXT.decode(sent)
    except msgspec.MsgspecError:
        raise _Refused(INCORRECT_INDEX, f"index is no text: {bytes(sent)[:40].decode(errors='replace')}") from None


def _own_fields(sent: Raw | None) -> dict[str, Any]:
    """Return the fields of the event itself."""
    if sent is None or bytes(sent) == _NULL:
        raise _Refused("event_required", "the envelope has no 'event'")
    text = bytes(sent)
    if text[:1] != b"{":
        if text == b'""':
            raise _Refused("event_blank", "'event' is empty")
        return {RAW_TEXT: sent}
    fields = _OBJECT.decode(text)
    if not fields:
        raise _Refused("event_blank", "'event' has no fields")
    return dict(fields)


def _fields(sent: Raw | None) -> dict[str, Raw]:
    if sent is None or bytes(sent) == _NULL:
        return {}
    try:
        return _OBJECT.decode(sent)
    except msgspec.MsgspecError:
        raise _Refused("invalid_fields", "'fields' is no JSON object") from None
