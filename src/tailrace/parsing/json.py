"""Parsing of JSON bodies into events: arrays, single objects, NDJSON and concatenated objects.

A valid body is decoded once, in native code, each event to its head: a struct of only the time field, whose decoding
fails at a reserved name. That checks the syntax and reads the times. Events are looked at one by one only where this
decoding fails (`malformed`), and on the lines that `prefilter` marks.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct, UnsetType
from numpy.typing import NDArray

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.parsing import malformed
from tailrace.parsing.limits import Limits
from tailrace.parsing.prefilter import Positions, line_ends, prefilter
from tailrace.parsing.sanitize import RESERVED, Sanitized, sanitize
from tailrace.parsing.split_body import (
    BOM,
    DECODE_ERRORS,
    RAW,
    RAW_LIST,
    SPACE,
    SplitBody,
    check_count,
    joined,
    too_many,
)
from tailrace.parsing.times import TimeRule, check_rule, read_times, time_values

_SPACES = (b" ", b"\t", b"\r", b"\n", b"")


def parse_json(body: bytes, *, times: TimeRule, limits: Limits, received_ns: int, lines: bool = False) -> ParsedBatch:
    """Parse a decoded body into events.

    A body that begins with `[` is one array. Any other body is a sequence of objects, with or without white space
    between them. With `lines` a body whose first line is a complete JSON value, and is followed by other lines, is a
    sequence even if it begins with `[`.

    An object may span lines. Where one is malformed, its line is refused, or only the object where its end can be
    found. Stray closing braces or quote marks after the last object of a line hold no data and are ignored: published
    curl examples have them. Events keep their bytes, except for the white space of events that span lines, and for
    what the limits and the reserved names change (`sanitize`).

    Raise BadRequest for a malformed array, for a body that is only one malformed event, and for an invalid time
    format; TooLarge past `max_body_bytes` or `max_events`.
    """
    check_rule(times)
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; max_body_bytes is {limits.max_body_bytes}")
    text = b"   " + body[3:] if body.startswith(BOM) else body  # of the same length, for positions in messages
    first = text[:1] if text[:1] not in _SPACES else text.lstrip(SPACE)[:1]
    if not first:
        return ParsedBatch(events=b"", times=np.empty(0, dtype=np.int64), count=0, processed_bytes=len(body))
    is_array = first == b"[" and not (lines and _begins_with_line(text))
    if len(text) > _UNCOUNTED_BYTES_PER_EVENT * limits.max_events:
        check_count(text, limits.max_events, b"{", is_array=is_array)
    reader = _reader(times.field)
    split = _split_array(text, limits, reader) if is_array else _split_objects(text, limits, reader)
    split = _within_limits(split, limits, reader, times, received_ns)
    split, ns = _with_times(split, reader, times, received_ns)
    return ParsedBatch(
        events=split.ndjson,
        times=ns,
        count=split.count,
        processed_bytes=len(body),
        rejections=tuple(sorted(split.rejections, key=attrgetter("index"))),
    )


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


# Heads: the time field of each event is read, and reserved names are found, in one native pass.

_NEVER = Annotated[int, Meta(ge=1, le=0)]  # no value fits this type, so that a reserved name fails the decoding


class _TimeReader(Struct, frozen=True):
    """Decoders of events to their heads, and what reads the times from these."""

    event: msgspec.json.Decoder[Any]
    array: msgspec.json.Decoder[list[Any]]
    values: Callable[[Sequence[Any], bytes], Sequence[Raw | bytes]]  # of the heads, and the events as NDJSON


@lru_cache(maxsize=256)
def _reader(field: str) -> _TimeReader:
    renamed = {f"reserved_{index}": name for index, name in enumerate(RESERVED)}
    fields: list[Any] = [(attribute, _NEVER | UnsetType, msgspec.UNSET) for attribute in renamed]
    plain = field not in RESERVED and "." not in field and re.search(r'["\\\x00-\x1f]', field) is None
    if plain:
        fields.insert(0, ("time", Raw, Raw(b"")))
        renamed["time"] = field
    head = msgspec.defstruct("Head", fields, rename=renamed, gc=False, frozen=True)

    def struct_values(heads: Sequence[Any], ndjson: bytes) -> Sequence[Raw | bytes]:
        return list(map(attrgetter("time"), heads))

    def looked_up_values(heads: Sequence[Any], ndjson: bytes) -> Sequence[Raw | bytes]:
        return time_values(_DICTS.decode_lines(ndjson), "_user" + field if field in RESERVED else field)

    return _TimeReader(
        event=msgspec.json.Decoder(head),
        array=msgspec.json.Decoder(list[head]),  # type: ignore[valid-type]
        values=struct_values if plain else looked_up_values,
    )


_DICTS = msgspec.json.Decoder(dict[str, Raw])


# Splitting.


def _split_objects(text: bytes, limits: Limits, reader: _TimeReader) -> SplitBody:
    try:
        heads = reader.event.decode_lines(text)
    except DECODE_ERRORS:
        split = malformed.split_objects(text, limits, reader.event)
        only = split.rejections[0] if not split.count and len(split.rejections) == 1 else None
        if only is not None and only.code in ("invalid_json", malformed.NOT_AN_OBJECT):
            raise BadRequest(only.reason) from None
        return split
    count = len(heads)
    if count > limits.max_events:
        raise too_many(limits.max_events)
    ndjson = text if text[-1:] == b"\n" else text + b"\n"
    ends = line_ends(ndjson) if count > 1 else None
    if not _has_one_object_per_line(ndjson, count, ends):
        ends = None
        raws = RAW.decode_lines(text)
        ndjson = joined(raws)
        if ndjson.count(b"\n") != count:
            ndjson = joined(RAW_LIST.decode(msgspec.json.format(b"[" + b",".join(raws) + b"]", indent=-1)))
    return SplitBody(ndjson, count, range(count), [], heads, ends)


def _has_one_object_per_line(text: bytes, count: int, ends: Positions | None) -> bool:
    """Return whether each line of `text`, which holds `count` valid objects, is one object; `ends` are its newlines.

    In valid JSON a newline stands between "}" and "{" only where one top-level object ends and the next begins. So
    when all do, each line holds whole objects, and as many lines as objects means one each.
    """
    if text[:1] != b"{" or text[-2:] != b"}\n":
        return False
    if ends is None:
        return text.count(b"\n") == 1
    codes = np.frombuffer(text, dtype=np.uint8)
    return bool(len(ends) == count and (codes[ends - 1] == ord("}")).all() and (codes[ends[:-1] + 1] == ord("{")).all())


def _split_array(text: bytes, limits: Limits, reader: _TimeReader) -> SplitBody:
    try:
        heads = reader.array.decode(text)
        raws = RAW_LIST.decode(text)
    except DECODE_ERRORS:
        return malformed.split_array(text, limits, reader.event)
    count = len(raws)
    if count > limits.max_events:
        raise too_many(limits.max_events)
    ndjson = joined(raws)
    if ndjson.count(b"\n") != count:
        ndjson = joined(RAW_LIST.decode(msgspec.json.format(text, indent=-1)))
    return SplitBody(ndjson, count, range(count), [], heads)


# Limits.

# A body of at most this many bytes for each of `max_events` is decoded without its events being counted first: even
# one of the smallest events becomes few enough Python objects.
_UNCOUNTED_BYTES_PER_EVENT = 16


def _within_limits(
    split: SplitBody, limits: Limits, reader: _TimeReader, times: TimeRule, received_ns: int
) -> SplitBody:
    """Return the body with its events sanitized, and those past the limits rejected."""
    marked = prefilter(split.ndjson, limits, split.line_ends)
    if not marked:
        return split
    lines: list[bytes | None] = [*split.ndjson.split(b"\n")[:-1]]
    rejections = list(split.rejections)
    changed = False
    for position in marked:
        line = lines[position]
        assert line is not None
        if len(line) > limits.max_event_bytes:
            sanitized = Sanitized(
                end=len(line),
                event=None,
                reason=f"the event has {len(line)} bytes; max_event_bytes is {limits.max_event_bytes}",
                code="event_too_large",
            )
        else:
            sanitized = sanitize(line, 0, len(line), limits)
        if sanitized.event == line:
            continue
        changed = True
        lines[position] = sanitized.event
        if sanitized.event is None:
            rejections.append(
                Rejection(
                    split.indexes[position],
                    sanitized.reason,
                    sanitized.code,
                    time_ns=_time_of(line, reader, times, received_ns),
                    event=line,
                )
            )
    if not changed:
        return split
    good = [position for position, line in enumerate(lines) if line is not None]
    return SplitBody(
        ndjson=joined([line for line in lines if line is not None]),
        count=len(good),
        indexes=[split.indexes[position] for position in good],
        rejections=rejections,
    )


def _time_of(event: bytes, reader: _TimeReader, rule: TimeRule, received_ns: int) -> int | None:
    """Return the time that a refused event names, where that can be read."""
    try:
        values = reader.values(reader.event.decode_lines(event), event)
    except DECODE_ERRORS:
        return None
    times = read_times(values, rule, received_ns)
    return None if times.unreadable or not len(values[0]) else int(times.ns[0])


# Times.


def _with_times(
    split: SplitBody, reader: _TimeReader, rule: TimeRule, received_ns: int
) -> tuple[SplitBody, NDArray[np.int64]]:
    """Return the body with the events rejected whose time cannot be read, and the times of the others."""
    heads = reader.event.decode_lines(split.ndjson) if split.heads is None else split.heads
    times = read_times(reader.values(heads, split.ndjson), rule, received_ns)
    if not times.unreadable:
        return split, times.ns
    lines = split.ndjson.split(b"\n")[:-1]
    refused = [
        Rejection(split.indexes[position], reason, "invalid_time", event=lines[position])
        for position, reason in times.unreadable.items()
    ]
    good = [position for position in range(len(lines)) if position not in times.unreadable]
    remaining = SplitBody(
        ndjson=joined([lines[position] for position in good]),
        count=len(good),
        indexes=[split.indexes[position] for position in good],
        rejections=[*split.rejections, *refused],
    )
    return remaining, times.ns[good]
