"""Parsing of JSON bodies into events: arrays, single objects, NDJSON and concatenated objects.

A scan in native code proves that a body is strict JSON, finds its events and the fields that are read, and flags the
events in which something may be forbidden. Only those are looked at one by one, and the bodies that it refuses
(`malformed`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter

import msgspec
import numpy as np
from msgspec import Raw, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.native.scanner import HEAD_CELLS, ROW_END, ROW_FLAGS, ROW_START, SPANS_LINES, Scanned, Scanner
from tailrace.parsing import malformed
from tailrace.parsing.copies import Copy, with_copies
from tailrace.parsing.fields import Columns, EventReader, event_reader, is_readable, scanned_columns
from tailrace.parsing.limits import ExactWayNeeded, Limits
from tailrace.parsing.malformed import checked_element, checked_object, excerpt
from tailrace.parsing.sanitize import RESERVED
from tailrace.parsing.split_body import (
    BOM,
    DECODE_ERRORS,
    SPACE,
    CheckedEvent,
    SplitBody,
    check_count,
    joined,
    too_many,
)
from tailrace.parsing.times import Texts, TimeRule, check_rule, read_time, read_times, time_values

_Judge = Callable[[bytes], CheckedEvent]  # of an event that a scan flags


class ArrayFields(Struct, frozen=True):
    """Which top-level fields of the elements are read."""

    times: tuple[str, ...] = ("_time",)  # the first whose value can be read as a time is the event's
    copies: tuple[Copy, ...] = ()


# Bodies of which the syntax is one.


def parse_json(
    body: bytes,
    *,
    times: TimeRule,
    limits: Limits,
    received_ns: int,
    lines: bool = False,
    in_bulk: bool = False,
) -> ParsedBatch:
    """Parse a decoded body into events.

    A body that begins with `[` is one array. Any other body is a sequence of objects, with or without white space
    between them. With `lines` a body whose first line is a complete JSON value, and is followed by other lines, is a
    sequence even if it begins with `[`.

    An object may span lines. Where one is malformed, its line is refused, or only the object where its end can be
    found. Stray closing braces or quote marks after the last object of a line hold no data and are ignored: published
    curl examples have them. Events keep their bytes, except for the white space of events that span lines, and for
    what the limits and the reserved names change (`sanitize`).

    Raise BadRequest for a malformed array, for a body that is only one malformed event, and for an invalid time
    format; TooLarge past `max_body_bytes` or `max_events`; with `in_bulk` ExactWayNeeded.
    """
    reader = _time_reader(times, limits)
    start, first = _first_of(body, limits)
    is_array = first == b"[" and not (lines and _begins_with_line(body[start:]))
    scanned = scan(body, start, reader.events, is_array=is_array)
    if scanned is not None and scanned.count == 1 and not scanned.flags and not reader.is_looked_up:
        parsed = _only_event(body, scanned, times, received_ns)
        if parsed is not None:
            return parsed
    if in_bulk and first and not _is_bulk(scanned, is_timed=not reader.is_looked_up):
        raise ExactWayNeeded
    time_of = partial(_time_of, reader=reader, rule=times, received_ns=received_ns)
    if scanned is not None:
        judge = partial(checked_object, limits=limits, decoder=reader.events.decoder)
        split = split_scanned(body, scanned, reader.events, limits, judge, time_of)
    elif not first:
        split = SplitBody(b"", 0, ())
    else:
        split = _split_exactly(_unmarked(body), limits, reader, time_of, is_array=is_array)
    split, ns = _with_times(split, reader, times, received_ns, in_bulk=in_bulk)
    return _parsed(split, split.ndjson, ns, body)


def _begins_with_line(text: bytes) -> bool:
    """Return whether the first line is a JSON value by itself and other lines follow it."""
    end = text.find(b"\n", len(text) - len(text.lstrip(SPACE)))
    if end < 0 or not text[end:].strip(SPACE):
        return False
    try:
        msgspec.json.decode(text[:end], type=Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


class _TimeReader(Struct, frozen=True, eq=False):
    """Reads events, and the values of their time field."""

    events: EventReader
    is_looked_up: bool  # whether the time is not a plain top-level field
    values: Callable[[bytes], Texts | list[bytes]]  # of NDJSON


@lru_cache(maxsize=256)
def _time_reader(rule: TimeRule, limits: Limits) -> _TimeReader:
    check_rule(rule)
    field = rule.field
    if is_readable(field) and "." not in field:
        plain = event_reader((field,), limits)
        return _TimeReader(plain, False, lambda ndjson: plain.decoded(ndjson)[0])
    stored = "_user" + field if field in RESERVED else field
    return _TimeReader(event_reader((), limits), True, lambda ndjson: time_values(_DICTS.decode_lines(ndjson), stored))


_DICTS = msgspec.json.Decoder(dict[str, Raw])


def _only_event(body: bytes, scanned: Scanned, rule: TimeRule, received_ns: int) -> ParsedBatch | None:
    """Return the batch of a body that is one event which nothing is wrong with; None where its time is."""
    start, end, _, time_start, time_end = scanned.cells[HEAD_CELLS : HEAD_CELLS + scanned.width].tolist()
    time_ns = read_time(body[time_start:time_end], rule, received_ns)
    if isinstance(time_ns, str):
        return None
    return ParsedBatch(_lines_of(body, start, end), np.array((time_ns,), dtype=np.int64), 1, len(body))


# A body of at most this many bytes for each of `max_events` is decoded without its events being counted first: even
# one of the smallest events becomes few enough Python objects.
_UNCOUNTED_BYTES_PER_EVENT = 16


def _split_exactly(
    text: bytes, limits: Limits, reader: _TimeReader, time_of: malformed.TimeOf, *, is_array: bool
) -> SplitBody:
    if len(text) > _UNCOUNTED_BYTES_PER_EVENT * limits.max_events:
        check_count(text, limits.max_events, b"{", is_array=is_array)
    split = malformed.split_array if is_array else malformed.split_objects
    return split(text, limits, reader.events.decoder, time_of)


def _time_of(event: bytes, reader: _TimeReader, rule: TimeRule, received_ns: int) -> int | None:
    """Return the time that a refused event names, where that can be read."""
    try:
        reader.events.decoder.decode(event)
        values = reader.values(event)
    except DECODE_ERRORS:
        return None
    times = read_times(values, rule, received_ns)
    return None if times.unreadable or not len(values[0]) else int(times.ns[0])


def _with_times(
    split: SplitBody, reader: _TimeReader, rule: TimeRule, received_ns: int, *, in_bulk: bool
) -> tuple[SplitBody, NDArray[np.int64]]:
    """Return the body with the events rejected whose time cannot be read, and the times of the others."""
    values = split.columns[0] if split.columns else reader.values(split.ndjson)
    times = read_times(values, rule, received_ns, in_bulk=in_bulk)
    if not times.unreadable:
        return split, times.ns
    return without_unreadable(split, times.ns, times.unreadable)


def without_unreadable(
    split: SplitBody, ns: NDArray[np.int64], unreadable: Mapping[int, str]
) -> tuple[SplitBody, NDArray[np.int64]]:
    """Return a body and the times of its events without those, by position, whose time cannot be read: rejections."""
    lines = split.ndjson.split(b"\n")[:-1]
    refused = [
        Rejection(split.indexes[position], reason, "invalid_time", event=lines[position])
        for position, reason in unreadable.items()
    ]
    good = [position for position in range(len(lines)) if position not in unreadable]
    remaining = SplitBody(
        ndjson=joined([lines[position] for position in good]),
        count=len(good),
        indexes=[split.indexes[position] for position in good],
        rejections=[*split.rejections, *refused],
    )
    return remaining, ns[good]


# Arrays of which each element is judged alone.


def parse_array(
    body: bytes,
    *,
    fields: ArrayFields,
    limits: Limits,
    max_event_bytes: int,
    received_ns: int,
    in_bulk: bool = False,
) -> ParsedBatch:
    """Split a decoded body that is one array into events; an element that is no JSON object of at most
    `max_event_bytes` as sent, without the white space around it, is a rejection with its bytes in `event`.

    An event without a time that can be read has that of its receipt. Values that are too long, containers that are
    too deep and reserved names are sanitized as `parse_json` does; text that is not UTF-8 is not JSON.

    Raise BadRequest for a body that is empty, that is no array, or whose array does not end where the body does, and
    TooLarge (`max_body_bytes`, `max_events`); with `in_bulk` ExactWayNeeded. Time and memory are in proportion to the
    body, whatever is in it.
    """
    reader = _array_reader(fields, limits, max_event_bytes)
    start, first = _first_of(body, limits)
    if not first:
        raise BadRequest("the body is empty; send a JSON array of objects")
    if first != b"[":
        raise BadRequest(f"the body is no JSON array: it begins with {excerpt(_unmarked(body).lstrip(SPACE))}")
    scanned = scan(body, start, reader.events, is_array=True)
    if in_bulk and not _is_bulk(scanned):
        raise ExactWayNeeded
    if scanned is not None:
        judge = partial(checked_element, limits=reader.limits, decoder=reader.events.decoder)
        split = split_scanned(body, scanned, reader.events, reader.limits, judge)
    else:
        text = _unmarked(body)
        check_count(text, limits.max_events, b"{", is_array=True)
        split = malformed.split_elements(text, reader.limits, reader.events.decoder)
    columns = reader.events.decoded(split.ndjson) if split.columns is None else split.columns
    ns = _first_times(columns[: len(reader.times)], reader.times, split.count, received_ns, in_bulk=in_bulk)
    events = with_copies(split.ndjson, columns, reader.names, fields.copies, body) if fields.copies else split.ndjson
    return _parsed(split, events, ns, body)


class _ArrayReader(Struct, frozen=True, eq=False):
    """Reads elements, and the fields asked for."""

    events: EventReader
    names: tuple[str, ...]  # of the fields, those of times first
    times: tuple[TimeRule, ...]
    limits: Limits


@lru_cache(maxsize=16)
def _array_reader(fields: ArrayFields, limits: Limits, max_event_bytes: int) -> _ArrayReader:
    copied = [name for copy in fields.copies for name in (copy.source, *copy.own)]
    names = tuple(dict.fromkeys((*fields.times, *copied)))
    limits = replace(limits, max_event_bytes=min(limits.max_event_bytes, max_event_bytes))
    return _ArrayReader(event_reader(names, limits), names, tuple(map(TimeRule, fields.times)), limits)


def _first_times(
    columns: Columns, rules: tuple[TimeRule, ...], count: int, received_ns: int, *, in_bulk: bool
) -> NDArray[np.int64]:
    """Return the time of each event: the first of its fields that can be read as one, else that of its receipt."""
    if rules and count <= _FEW:
        events = zip(*(column.all() if isinstance(column, Texts) else column for column in columns), strict=True)
        return np.array([_first_time(values, rules, received_ns) for values in events], dtype=np.int64)
    times = np.full(count, received_ns, dtype=np.int64)
    left: NDArray[np.intp] = np.arange(count)  # positions without a time so far
    for rule, column in zip(rules, columns, strict=True):
        assert isinstance(column, Texts)
        present = left[column.ends[left] > column.starts[left]]
        if not len(present):
            continue
        values = column.at(present)
        read = read_times(values, rule, received_ns, in_bulk=in_bulk)
        good = np.ones(len(present), dtype=np.bool_)
        good[[*read.unreadable, *_nulls(values)]] = False
        times[present[good]] = read.ns[good]
        left = np.setdiff1d(left, present[good], assume_unique=True)
        if not len(left):
            break
    return times


_FEW = 12  # events
_NULL = b"null"


def _first_time(values: Sequence[bytes], rules: Sequence[TimeRule], received_ns: int) -> int:
    for value, rule in zip(values, rules, strict=True):
        if value and value != _NULL:
            time_ns = read_time(value, rule, received_ns)
            if isinstance(time_ns, int):
                return time_ns
    return received_ns


def _nulls(values: Texts) -> list[int]:
    return [at for at in np.flatnonzero(values.ends - values.starts == len(_NULL)).tolist() if values[at] == _NULL]


# Both.


def _first_of(body: bytes, limits: Limits) -> tuple[int, bytes]:
    """Return where a body begins, behind a byte order mark, and its first byte that is not white space, if any.

    Raise TooLarge.
    """
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; max_body_bytes is {limits.max_body_bytes}")
    first = body[:1]
    if first == b"{" or first == b"[":
        return 0, first
    start = len(BOM) if body.startswith(BOM) else 0
    found = _NOT_SPACE.search(body, start)
    return start, b"" if found is None else found[0]


_NOT_SPACE = re.compile(rb"[^ \t\r\n]")


def _unmarked(body: bytes) -> bytes:
    """Return the body without a byte order mark, of the same length, for positions in messages."""
    return b"   " + body[3:] if body.startswith(BOM) else body


def scan(body: bytes, start: int, reader: EventReader, *, is_array: bool) -> Scanned | None:
    """Return what a scan tells of a body; None for one that goes the exact way."""
    return None if reader.scanner is None else reader.scanner.scan(body, start=start, is_array=is_array)


def _is_bulk(scanned: Scanned | None, *, is_timed: bool = True) -> bool:
    """Whether no event of a body needs a look by itself, nor its time, unless that stands in a field of its own."""
    return scanned is not None and not scanned.flags & ~SPANS_LINES and (is_timed or scanned.count <= _FEW)


def split_scanned(
    body: bytes,
    scanned: Scanned,
    reader: EventReader,
    limits: Limits,
    judge: _Judge,
    time_of: malformed.TimeOf | None = None,
) -> SplitBody:
    """Return the events of a body that a scan took: as they are, but for those that it flags."""
    count = scanned.count
    if count > limits.max_events:
        raise too_many(limits.max_events)
    if scanned.flags & ~SPANS_LINES:
        return _split_flagged(body, scanned, judge, time_of)
    assert reader.scanner is not None
    # Of events that span lines the fields are read without their white space.
    columns = None if scanned.flags else scanned_columns(body, scanned)
    return SplitBody(_ndjson(body, scanned, reader.scanner), count, range(count), (), columns)


def _ndjson(body: bytes, scanned: Scanned, scanner: Scanner) -> bytes:
    if not scanned.count:
        return b""
    if not scanned.is_lines:
        return scanner.lines(body, scanned)
    last = HEAD_CELLS + (scanned.count - 1) * scanned.width
    return _lines_of(body, scanned.cells[HEAD_CELLS + ROW_START], scanned.cells[last + ROW_END])


def _lines_of(body: bytes, start: int, end: int) -> bytes:
    """Return what lies between start and end, which is lines but for the last newline."""
    return body[start : end + 1] if body[end : end + 1] == b"\n" else body[start:end] + b"\n"


def _split_flagged(body: bytes, scanned: Scanned, judge: _Judge, time_of: malformed.TimeOf | None) -> SplitBody:
    lines: list[bytes] = []
    indexes: list[int] = []
    rejections: list[Rejection] = []
    for index, (start, end, flags) in enumerate(scanned.rows()[:, : ROW_FLAGS + 1].tolist()):
        sent = body[start:end]
        checked = judge(sent) if flags else CheckedEvent(sent)
        if checked.line is not None:
            lines.append(checked.line)
            indexes.append(index)
        else:
            time_ns = None if time_of is None else time_of(sent)
            rejections.append(Rejection(index, checked.reason, checked.code, time_ns, event=sent))
    return SplitBody(joined(lines), len(lines), indexes, rejections)


def _parsed(split: SplitBody, events: bytes, times: NDArray[np.int64], body: bytes) -> ParsedBatch:
    return ParsedBatch(
        events=events,
        times=times,
        count=split.count,
        processed_bytes=len(body),
        rejections=tuple(sorted(split.rejections, key=attrgetter("index"))),
    )
