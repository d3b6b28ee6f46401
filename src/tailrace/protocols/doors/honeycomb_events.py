"""Bodies of Honeycomb's API as events: single ones and batches, as JSON or MessagePack."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tailrace.events import BadRequest, TooLarge
from tailrace.events.sizes import MIB
from tailrace.parsing import ArrayFields, EventCollector, Limits, TimeRule, parse_array, time_member
from tailrace.parsing.msgpack import MsgpackErrors, unpack, unpack_list
from tailrace.parsing.surrogates import with_whole_characters
from tailrace.parsing.times import read_time
from tailrace.protocols.doors.envelope import TIME, merged, numbered, timed

SAMPLE_RATE = "samplerate"
MARKER = "marker"  # the field `type` of a marker
# Of one event as MessagePack, whose smallest values take much more memory than bytes; libhoney sends no larger ones.
MAX_PACKED_EVENT_BYTES = MIB
MAX_MARKER_BYTES = 64 * 1024
MAX_PACKED_BYTES = 16 * MIB  # of a body; libhoney sends batches of up to 5 MB

_PREFIX = "honeycomb"
_NO_TIMES = ArrayFields(times=())
_TIME = TimeRule(field="time")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
Members = dict[str, Any]


class _SentMarker(Struct, frozen=True, gc=False):
    """The members of a marker whose types are known."""

    message: str = ""
    type: str = ""
    url: str = ""
    start_time: int = 0
    end_time: int = 0


_MARKERS = msgspec.json.Decoder(_SentMarker)


def collect_event(
    body: bytes,
    collector: EventCollector,
    dataset: str,
    *,
    is_packed: bool,
    envelope: Members,
    limits: Limits,
    received_ns: int,
) -> None:
    """Take a body that is the fields of one event; raise BadRequest where it is none, or the time of its envelope, and
    TooLarge.
    """
    most = MAX_PACKED_EVENT_BYTES if is_packed else limits.max_event_bytes
    if len(body) > most:
        raise TooLarge(f"the event has more than {most} bytes")
    try:
        event = _fields(unpack(body) if is_packed else _OBJECT.decode(with_whole_characters(body)))
        collector.add(dataset, 0, _event(event, envelope, received_ns))
    except MsgpackErrors as error:
        raise BadRequest(f"the body is not the fields of an event: {error}") from None


def collect_batch(
    body: bytes, collector: EventCollector, dataset: str, *, is_packed: bool, limits: Limits, received_ns: int
) -> int:
    """Take a body `[{"time", "samplerate", "data"}]`; return how many events it has, with those that are refused.

    Raise BadRequest where it is no array, and TooLarge.
    """
    if is_packed:
        elements: Iterator[tuple[int, bytes]] = enumerate(map(bytes, unpack_list(_bounded(body), limits.max_events)))
    else:
        envelope_limits = msgspec.structs.replace(limits, max_depth=limits.max_depth + 1)
        parsed = parse_array(
            body,
            fields=_NO_TIMES,
            limits=envelope_limits,
            max_event_bytes=limits.max_event_bytes,
            received_ns=received_ns,
        )
        for rejection in parsed.rejections:
            collector.refuse(rejection.index, rejection.reason, rejection.code)
        elements = ((number, line) for number, line, _ in numbered(parsed))
    count = len(collector.rejections)
    for number, element in elements:
        count += 1
        try:
            envelope = _packed_envelope(element) if is_packed else dict(_OBJECT.decode(element))
            event = _fields(envelope.pop("data", {}))
            collector.add(dataset, number, _event(event, envelope, received_ns))
        except BadRequest as error:
            collector.refuse(number, error.message)
        except MsgpackErrors as error:
            collector.refuse(number, f"the event cannot be read: {error}")
    return count


def collect_marker(body: bytes, collector: EventCollector, dataset: str, *, marker: Members, received_ns: int) -> None:
    """Take a body `{"start_time", "end_time", "message", "type", "url"}` as an event; raise BadRequest.

    Its members, and those of `marker`, become the members of its field `marker`. Raise TooLarge.
    """
    if len(body) > MAX_MARKER_BYTES:
        raise TooLarge(f"the marker has more than {MAX_MARKER_BYTES} bytes")
    try:
        _MARKERS.decode(body)
        members = {**_OBJECT.decode(body), **marker}
    except MsgpackErrors as error:
        raise BadRequest(f"the body is no marker: {error}") from None
    event = {"type": MARKER, MARKER: members}
    collector.add(dataset, 0, timed(event, _time_ns(members.get("start_time"), received_ns)))


def _packed_envelope(element: bytes) -> Members:
    """Return the members of an element; raise BadRequest where it is no map, or too large."""
    if len(element) > MAX_PACKED_EVENT_BYTES:
        raise BadRequest(f"the event has more than {MAX_PACKED_EVENT_BYTES} bytes")
    envelope = unpack(element)
    if not isinstance(envelope, dict):
        raise BadRequest("an event of a batch is an object with its data")
    return envelope


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_PACKED_BYTES:
        raise TooLarge(f"a body of MessagePack has more than {MAX_PACKED_BYTES} bytes")
    return body


def _fields(sent: Any) -> Members:
    """Return the fields of an event; raise BadRequest where they are none, or no object."""
    fields = _OBJECT.decode(sent) if isinstance(sent, Raw) else sent
    if not isinstance(fields, dict):
        raise BadRequest("the data of an event are an object")
    if not fields:
        raise BadRequest("the event has no data")
    return dict(fields)


def _event(fields: Members, envelope: Members, received_ns: int) -> Members:
    """Return an event with what its envelope says; raise BadRequest where that has a time that is none."""
    sent_time = envelope.pop("time", None)
    more = {name: value for name, value in envelope.items() if not _is_null(value)}
    event = merged(fields, more, _PREFIX)
    if _is_null(sent_time) and TIME in event:
        own = event[TIME]
        own_ns = read_time(bytes(own) if isinstance(own, Raw) else _ENCODER.encode(own), _TIME, received_ns)
        if isinstance(own_ns, int):
            return {**event, TIME: Raw(time_member(own_ns))}
    return timed(event, _time_ns(sent_time, received_ns))


def _time_ns(sent: Any, received_ns: int) -> int:
    if sent is None:
        return received_ns
    time_ns = read_time(bytes(sent) if isinstance(sent, Raw) else _ENCODER.encode(sent), _TIME, received_ns)
    if isinstance(time_ns, str):
        raise BadRequest(time_ns)
    return time_ns


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, Raw) and bytes(value) == b"null")
