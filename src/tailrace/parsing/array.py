"""An array of JSON objects split into events so that an element that is not JSON costs only itself.

A good body is decoded natively, by a type that knows only the fields with the time and those asked for. Only a body
that this refuses is taken apart: strings, escapes and depth tell where its elements end, and each is judged alone.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct, UnsetType
from msgspec.structs import replace
from numpy.typing import NDArray

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.parsing.limits import Limits
from tailrace.parsing.prefilter import is_utf8, nested, prefilter
from tailrace.parsing.sanitize import RESERVED, number_fault, sanitize
from tailrace.parsing.split_body import BOM, DECODE_ERRORS, RAW, RAW_LIST, SPACE, SplitBody, is_event, joined, too_many
from tailrace.parsing.times import TimeRule, read_times

_ABSENT = Raw(b"")
_EXCERPT_BYTES = 20


class Copy(Struct, frozen=True):
    """A field that an event gets from another of its fields, where that is text."""

    source: str  # a top-level name
    target: str  # a path with dots; an event that has it, or its first part, keeps its own


class ArrayFields(Struct, frozen=True):
    """Which top-level fields of the elements are read."""

    times: tuple[str, ...] = ("_time",)  # the first whose value can be read as a time is the event's
    copies: tuple[Copy, ...] = ()


def parse_array(
    body: bytes, *, fields: ArrayFields, limits: Limits, max_event_bytes: int, received_ns: int
) -> ParsedBatch:
    """Split a decoded body that is one array into events; an element that is no JSON object of at most
    `max_event_bytes` as sent, without the white space around it, is a rejection with its bytes in `event`.

    An event without a time that can be read has that of its receipt. Values that are too long, containers that are
    too deep and reserved names are sanitized as `parse_json` does; text that is not UTF-8 is not JSON.

    Raise BadRequest for a body that is empty, that is no array, or whose array does not end where the body does, and
    TooLarge (`max_body_bytes`, `max_events`). Time and memory are in proportion to the body, whatever is in it.
    """
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; max_body_bytes is {limits.max_body_bytes}")
    text = b"   " + body[3:] if body.startswith(BOM) else body  # of the same length, for positions in messages
    first = text.lstrip(SPACE)[:1] if text[:1] != b"[" else b"["
    if not first:
        raise BadRequest("the body is empty; send a JSON array of objects")
    if first != b"[":
        raise BadRequest(f"the body is no JSON array: it begins with {_excerpt(text.lstrip(SPACE))}")
    if text.count(b"{") > 4 * limits.max_events:
        _check_count(text, limits.max_events)
    limits = replace(limits, max_event_bytes=min(limits.max_event_bytes, max_event_bytes))
    reader = _reader(fields)
    split = _split_whole(text, limits, reader) or _split_apart(text, limits, reader)
    split = _within_limits(split, limits)
    heads = split.heads if split.heads is not None else reader.event.decode_lines(split.ndjson)
    times = _read_times(heads, reader, received_ns)
    return ParsedBatch(
        events=_with_copies(split.ndjson, heads, reader, body),
        times=times,
        count=split.count,
        processed_bytes=len(body),
        rejections=tuple(sorted(split.rejections, key=attrgetter("index"))),
    )


# Reading the fields asked for, and meeting reserved names, in one native pass.

_NEVER = Annotated[int, Meta(ge=1, le=0)]  # no value is this: a reserved name fails the decoding


class _FieldReader(Struct, frozen=True):
    """Decoders of events of which only the fields asked for are read."""

    event: msgspec.json.Decoder[Any]
    array: msgspec.json.Decoder[list[Any]]
    times: tuple[tuple[str, Callable[[Any], Raw]], ...]  # name of the field, and how to get it from a head
    copies: tuple["_Copier", ...]


class _Copier(Struct, frozen=True):
    root: bytes  # how the names of those begin that an event may have of its own
    prefix: bytes  # of the member to be written
    get: Callable[[Any], Raw]
    own: tuple[Callable[[Any], Raw], ...]  # any of these there, the event keeps what it has


@lru_cache(maxsize=16)
def _reader(fields: ArrayFields) -> _FieldReader:
    attributes: dict[str, str] = {}

    def get(name: str) -> Callable[[Any], Raw]:
        return attrgetter(attributes.setdefault(name, f"field_{len(attributes)}"))

    times = tuple((name, get(name)) for name in fields.times)
    copies = tuple(
        _Copier(
            root=copy.target.partition(".")[0].encode(),
            prefix=msgspec.json.encode(copy.target) + b":",
            get=get(copy.source),
            own=tuple(get(name) for name in dict.fromkeys((copy.target.partition(".")[0], copy.target))),
        )
        for copy in fields.copies
    )
    members: list[Any] = [(attribute, Raw, _ABSENT) for attribute in attributes.values()]
    renamed = {attribute: name for name, attribute in attributes.items()}
    for index, name in enumerate(RESERVED):
        members.append((f"reserved_{index}", _NEVER | UnsetType, msgspec.UNSET))
        renamed[f"reserved_{index}"] = name
    head = msgspec.defstruct("Head", members, rename=renamed, gc=False, frozen=True)
    return _FieldReader(
        event=msgspec.json.Decoder(head),
        array=msgspec.json.Decoder(list[head]),  # type: ignore[valid-type]
        times=times,
        copies=copies,
    )


# Splitting.


def _split_whole(text: bytes, limits: Limits, reader: _FieldReader) -> SplitBody | None:
    """All elements at once; None when one of them needs to be looked at."""
    try:
        heads = reader.array.decode(text)
        raws = RAW_LIST.decode(text)
    except DECODE_ERRORS:
        return None
    if len(raws) > limits.max_events:
        raise too_many(limits.max_events)
    if len(text) > limits.max_event_bytes and raws and max(map(len, raws)) > limits.max_event_bytes:
        return None
    if not is_utf8(text):
        return None
    ndjson = joined(raws)
    if ndjson.count(b"\n") != len(raws):
        ndjson = joined(RAW_LIST.decode(msgspec.json.format(text, indent=-1)))
    return SplitBody(ndjson, len(raws), range(len(raws)), [], heads)


def _split_apart(text: bytes, limits: Limits, reader: _FieldReader) -> SplitBody:
    events: list[bytes] = []
    indexes: list[int] = []
    rejections: list[Rejection] = []
    for index, (start, end) in enumerate(_spans(text)):
        if index >= limits.max_events:
            raise too_many(limits.max_events)
        element = text[start:end].strip(SPACE)
        event, reason, code = _sanitized_element(element, limits, reader)
        if event is None:
            rejections.append(Rejection(index, reason, code, event=element))
        else:
            events.append(event)
            indexes.append(index)
    return SplitBody(joined(events), len(events), indexes, rejections)


def _sanitized_element(element: bytes, limits: Limits, reader: _FieldReader) -> tuple[bytes | None, str, str]:
    """Return the event that an element is, sanitized; or None, why, and a code."""
    if len(element) > limits.max_event_bytes:
        return None, f"event is larger than {limits.max_event_bytes} bytes", "event_too_large"
    if not element:
        return None, "nothing stands between two commas, or between one and the end of the array", "invalid_json"
    if not is_utf8(element):
        return None, "malformed JSON: it is not valid UTF-8", "invalid_json"
    event: bytes | None = element
    try:
        reader.event.decode(element)
    except DECODE_ERRORS as error:
        if element[:1] != b"{":
            return None, *_not_an_object(element)
        sanitized = sanitize(element, 0, len(element), limits)
        if sanitized.event is None and sanitized.closed:
            return None, sanitized.reason, sanitized.code
        event = sanitized.event if sanitized.closed and sanitized.end == len(element) else None
        if event is None or not is_event(event, reader.event):
            return None, _syntax_fault(error, element), "invalid_json"
    if event is not None and b"\n" in event:
        event = msgspec.json.format(event, indent=-1)
    return event, "", ""


def _not_an_object(element: bytes) -> tuple[str, str]:
    try:
        RAW.decode(element)
    except RecursionError:
        pass
    except DECODE_ERRORS as error:
        return _syntax_fault(error, element), "invalid_json"
    return f"an event is a JSON object, not {_excerpt(element)}", "not_an_object"


def _syntax_fault(error: BaseException, text: bytes) -> str:
    if isinstance(error, RecursionError):
        return "malformed JSON: it is nested too deep to be read"
    what = str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
    if (fault := number_fault(text, error)) is not None:
        what = fault
    return f"malformed JSON: {what}"


def _excerpt(text: bytes) -> str:
    return repr(text[:_EXCERPT_BYTES].decode("utf-8", "replace"))


# Where elements end: the commas directly in the array, found without a look at what is between them.


class _Structure(Struct, frozen=True, eq=False):
    """What ends elements in a part of the body."""

    commas: NDArray[np.intp]  # positions in the body of those directly in the array
    end: int | None  # position of the bracket that closes the array, where it is in this part


def _structure(text: bytes) -> Iterator[_Structure]:
    """Yield what ends elements, a part of the body after another; the last one is that with the array's end."""
    for part in nested(text):
        commas = np.flatnonzero((part.codes == ord(",")) & ~part.inside & (part.depths == 1))
        # White space before the array has depth 0 as well.
        closed = np.flatnonzero((part.depths == 0) & (part.steps == -1))
        if len(closed):
            yield _Structure(commas[commas < closed[0]] + part.at, part.at + int(closed[0]))
            return
        yield _Structure(commas + part.at, None)


def _spans(text: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each element with the white space around it. Raise BadRequest unless one array is all."""
    ends: list[NDArray[np.intp]] = []
    end: int | None = None
    for part in _structure(text):
        ends.append(part.commas)
        end = part.end
    if end is None:
        raise BadRequest("malformed JSON: the array is not closed, or a bracket or quote mark in it is not")
    if text[end : end + 1] != b"]":
        raise BadRequest(f"malformed JSON: unexpected '}}' (byte {end})")
    rest = text[end + 1 :].lstrip(SPACE)
    if rest:
        raise BadRequest(f"malformed JSON: {_excerpt(rest)} follows the array (byte {len(text) - len(rest)})")
    start = text.index(b"[") + 1
    if sum(map(len, ends)) == 0 and not text[start:end].strip(SPACE):
        return
    for commas in ends:
        for comma in commas.tolist():
            yield start, comma
            start = comma + 1
    yield start, end


def _check_count(text: bytes, max_events: int) -> None:
    """Raise TooLarge for a body of very many tiny elements, before they become as many Python objects."""
    count = 1
    for part in _structure(text):
        count += len(part.commas)
        if count > max_events:
            raise too_many(max_events)


def _within_limits(split: SplitBody, limits: Limits) -> SplitBody:
    """Return events sanitized that break a limit of their parts; those refused that cannot be."""
    marked = prefilter(split.ndjson, limits) if split.count else []
    lines: list[bytes | None] = [*split.ndjson.split(b"\n")[:-1]] if marked else []
    rejections = list(split.rejections)
    changed = False
    for position in marked:
        line = lines[position]
        assert line is not None
        sanitized = sanitize(line, 0, len(line), limits)
        if sanitized.event == line:
            continue
        changed = True
        lines[position] = sanitized.event
        if sanitized.event is None:
            rejections.append(Rejection(split.indexes[position], sanitized.reason, sanitized.code, event=line))
    if not changed:
        return split
    good = [position for position, line in enumerate(lines) if line is not None]
    events = [line for line in lines if line is not None]
    return SplitBody(joined(events), len(good), [split.indexes[position] for position in good], rejections)


# Times.


def _read_times(heads: Sequence[Any], reader: _FieldReader, received_ns: int) -> NDArray[np.int64]:
    """Return the time of each event: the first of its fields that can be read as one, else that of its receipt."""
    times = np.full(len(heads), received_ns, dtype=np.int64)
    left: NDArray[np.intp] | None = None  # positions without a time so far; None is all
    for name, get in reader.times:
        among = heads if left is None else [heads[position] for position in left]
        if not among:
            break
        values = list(map(get, among))
        lengths = _lengths(values)
        present = np.flatnonzero(lengths)
        if not len(present):
            continue
        if len(present) < len(values):
            values = [values[position] for position in present]
        parsed = read_times(values, TimeRule(field=name), received_ns)
        unread = set(parsed.unreadable)
        unread.update(
            position
            for position in np.flatnonzero(lengths[present] == 4).tolist()
            if bytes(values[position]) == b"null"
        )
        good = np.ones(len(values), dtype=np.bool_)
        good[list(unread)] = False
        where = present if left is None else left[present]
        times[where[good]] = parsed.ns[good]
        missing = lengths == 0
        missing[present[~good]] = True
        still = np.flatnonzero(missing)
        left = still if left is None else left[still]
    return times


# Copies.


def _with_copies(ndjson: bytes, heads: Sequence[Any], reader: _FieldReader, body: bytes) -> bytes:
    """Return the events with the fields that are copies of others of theirs as their first members."""
    copiers = [copier for copier in reader.copies if any(map(len, map(copier.get, heads)))]
    if not copiers:
        return ndjson
    values: list[Sequence[bytes]] = [list(map(bytes, map(copier.get, heads))) for copier in copiers]
    for column, copier in enumerate(copiers):
        if not _may_have(body, copier.root):
            continue
        own = set(chain.from_iterable(np.flatnonzero(_lengths(list(map(get, heads)))).tolist() for get in copier.own))
        values[column] = [b"" if at in own else value for at, value in enumerate(values[column])]
    copied = list(zip(*values, strict=True))
    members = {value: b"".join(map(_member, copiers, value)) for value in set(copied)}
    if len(members) == 1:
        # Each event begins with a brace, and no newline stands within one.
        return (b"\n" + ndjson[:-1]).replace(b"\n{", b"\n{" + members[copied[0]])[1:] + b"\n"
    rests = (b"\n" + ndjson[:-1]).split(b"\n{")[1:]
    opened, ended = (b"{",) * len(rests), (b"\n",) * len(rests)
    return b"".join(chain.from_iterable(zip(opened, map(members.__getitem__, copied), rests, ended, strict=True)))


def _may_have(body: bytes, name: bytes) -> bool:
    """Whether names in the body may begin so, escapes in them included."""
    # One byte is found much faster than two.
    return (name[:1] in body and name in body) or (b"\\" in body and b"\\u" in body)


_TEXT = re.compile(rb'".+"', re.DOTALL)


def _member(copier: _Copier, value: bytes) -> bytes:
    """Return the member with its comma, as at least the one that the value is from follows; nothing unless it is
    text.
    """
    return copier.prefix + value + b"," if _TEXT.fullmatch(value) else b""


def _lengths(values: Sequence[Raw]) -> NDArray[np.intp]:
    return np.fromiter(map(len, values), dtype=np.intp, count=len(values))
