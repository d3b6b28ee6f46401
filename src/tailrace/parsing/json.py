"""JSON bodies parsed into events: arrays, single objects, NDJSON and concatenated objects, in bulk where they are good.

A good body is decoded once, natively, by a type that knows only the field with the time and the reserved names; that
proves its syntax and yields the times. Only a body that this refuses, and lines that `prefilter` marks, are looked
at one by one.
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
from tailrace.parsing.limits import Limits
from tailrace.parsing.prefilter import Positions, line_ends, nested, prefilter
from tailrace.parsing.sanitize import ANY_STRING, RESERVED, Sanitized, number_fault, sanitize, skipping
from tailrace.parsing.times import TimeRule, check_rule, pull, read_times

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_SPACES = (b" ", b"\t", b"\r", b"\n", b"")
_RAWS = msgspec.json.Decoder(Raw)
_RAW_LIST = msgspec.json.Decoder(list[Raw])
_REFUSED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def parse_json(body: bytes, *, times: TimeRule, limits: Limits, received_ns: int, lines: bool = False) -> ParsedBatch:
    """Parse a decoded body into events.

    A body that begins with `[` is one array, unless it is said to be `lines` and its first line is an array that
    other lines follow; any other is objects with white space, or nothing, between them. An
    object may span lines; where one is broken it costs its line, or itself where its extent can be told. Stray
    closing braces or quote marks after the last object of a line hold no data and are passed over: published curl
    examples have them. Events keep the bytes that they came with, but for the white space of events that span
    lines, and for what the limits and the reserved names change (`sanitize`).

    Raise BadRequest for a malformed array, for a body that is one malformed event and nothing else, or a time
    format that is none; TooLarge (`max_body_bytes`, `max_events`).
    """
    check_rule(times)
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; max_body_bytes is {limits.max_body_bytes}")
    text = b"   " + body[3:] if body.startswith(_BOM) else body  # of the same length, for positions in messages
    first = text[:1] if text[:1] not in _SPACES else text.lstrip(_SPACE)[:1]
    if not first:
        return ParsedBatch(events=b"", times=np.empty(0, dtype=np.int64), count=0, processed_bytes=len(body))
    is_array = first == b"[" and not (lines and _begins_with_line(text))
    if len(text) > _UNCOUNTED_BYTES_PER_EVENT * limits.max_events:
        _check_count(text, limits.max_events, b"{", is_array=is_array)
    reader = _reader(times.field)
    pieces = _split_array(text, limits, reader) if is_array else _split_objects(text, limits, reader)
    pieces = _within_limits(pieces, limits, reader, times, received_ns)
    pieces, ns = _timed(pieces, reader, times, received_ns)
    return ParsedBatch(
        events=pieces.ndjson,
        times=ns,
        count=pieces.count,
        processed_bytes=len(body),
        rejections=tuple(sorted(pieces.rejections, key=attrgetter("index"))),
    )


def _begins_with_line(text: bytes) -> bool:
    """Whether the first line is JSON by itself, and not the whole text."""
    end = text.find(b"\n", len(text) - len(text.lstrip(_SPACE)))
    if end < 0 or not text[end:].strip(_SPACE):
        return False
    try:
        msgspec.json.decode(text[:end], type=Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


class _Pieces(Struct, frozen=True, eq=False):
    """A body on its way: what is good so far, and what was refused."""

    ndjson: bytes
    count: int
    indexes: Sequence[int]  # of each event in what the client sent
    rejections: list[Rejection]
    heads: Sequence[Any] | None = None  # the events as the reader decoded them, where that was done
    ends: Positions | None = None  # of the lines, where they were sought


# Reading the field with the time, and meeting reserved names, in one native pass.

_NEVER = Annotated[int, Meta(ge=1, le=0)]  # no value is this: a reserved name fails the decoding


class _Reader(Struct, frozen=True):
    event: msgspec.json.Decoder[Any]
    array: msgspec.json.Decoder[list[Any]]
    values: Callable[[Sequence[Any], bytes], Sequence[Raw | bytes]]  # of the heads, and the events as NDJSON


@lru_cache(maxsize=256)
def _reader(field: str) -> _Reader:
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
        return pull(_DICTS.decode_lines(ndjson), "_user" + field if field in RESERVED else field)

    return _Reader(
        event=msgspec.json.Decoder(head),
        array=msgspec.json.Decoder(list[head]),  # type: ignore[valid-type]
        values=struct_values if plain else looked_up_values,
    )


_DICTS = msgspec.json.Decoder(dict[str, Raw])


# Cutting.


def _split_objects(text: bytes, limits: Limits, reader: _Reader) -> _Pieces:
    try:
        heads = reader.event.decode_lines(text)
    except _REFUSED:
        pieces = _split_objects_one_by_one(text, limits, reader)
        sole = pieces.rejections[0] if not pieces.count and len(pieces.rejections) == 1 else None
        if sole is not None and sole.code in ("invalid_json", _NO_OBJECT):
            raise BadRequest(sole.reason) from None
        return pieces
    count = len(heads)
    if count > limits.max_events:
        raise _too_many(limits.max_events)
    ndjson = text if text[-1:] == b"\n" else text + b"\n"
    ends = line_ends(ndjson) if count > 1 else None
    if not _is_one_a_line(ndjson, count, ends):
        ends = None
        raws = _RAWS.decode_lines(text)
        ndjson = _joined(raws)
        if ndjson.count(b"\n") != count:
            ndjson = _joined(_RAW_LIST.decode(msgspec.json.format(b"[" + b",".join(raws) + b"]", indent=-1)))
    return _Pieces(ndjson, count, range(count), [], heads, ends)


def _is_one_a_line(text: bytes, count: int, ends: Positions | None) -> bool:
    """Whether each line of `text`, which is known to be `count` valid objects, is one of them; `ends` are its newlines.

    In valid JSON a newline stands between "}" and "{" only where one top-level object ends and the next begins. So
    when all do, each line holds whole objects, and as many lines as objects means one each.
    """
    if text[:1] != b"{" or text[-2:] != b"}\n":
        return False
    if ends is None:
        return text.count(b"\n") == 1
    codes = np.frombuffer(text, dtype=np.uint8)
    return bool(len(ends) == count and (codes[ends - 1] == ord("}")).all() and (codes[ends[:-1] + 1] == ord("{")).all())


def _joined(events: Sequence[Raw | bytes]) -> bytes:
    return b"\n".join(events) + b"\n" if events else b""


def _split_array(text: bytes, limits: Limits, reader: _Reader) -> _Pieces:
    try:
        heads = reader.array.decode(text)
        raws = _RAW_LIST.decode(text)
    except _REFUSED:
        return _split_array_one_by_one(text, limits, reader)
    count = len(raws)
    if count > limits.max_events:
        raise _too_many(limits.max_events)
    ndjson = _joined(raws)
    if ndjson.count(b"\n") != count:
        ndjson = _joined(_RAW_LIST.decode(msgspec.json.format(text, indent=-1)))
    return _Pieces(ndjson, count, range(count), [], heads)


class _Found:
    """Events and rejections in the order in which they are met."""

    def __init__(self, limits: Limits, reader: _Reader, *, array: bool) -> None:
        self.limits = limits
        self.reader = reader
        self.array = array  # whose syntax is that of the whole request
        self.events: list[bytes] = []
        self.indexes: list[int] = []
        self.rejections: list[Rejection] = []

    def pieces(self) -> _Pieces:
        return _Pieces(_joined(self.events), len(self.events), self.indexes, self.rejections)

    def add(self, event: bytes) -> None:
        self.indexes.append(self._next_index())
        self.events.append(event)

    def refuse(self, sent: bytes, reason: str, code: str) -> None:
        if self.array and code == "invalid_json":
            raise BadRequest(reason)
        self.rejections.append(Rejection(self._next_index(), reason, code, event=sent.strip(_SPACE)))

    def refuse_no_object(self, sent: bytes, start: int) -> None:
        """`sent` begins at byte `start` of the body and is no object."""
        try:
            _RAWS.decode(sent)
        except RecursionError:
            pass
        except _REFUSED as error:
            self.refuse(sent, _malformed(error, start, sent), "invalid_json")
            return
        self.refuse(sent, f"an event is a JSON object, not {sent[:20].decode('utf-8', 'replace')!r}", _NO_OBJECT)

    def judge(self, sent: bytes, sanitized: Sanitized, start: int) -> None:
        """Take what `sanitize` made of `sent`, which begins at byte `start` of the body, when that is JSON."""
        event = sanitized.event
        if event is None:
            self.refuse(sent, sanitized.reason, sanitized.code)
            return
        try:
            self.reader.event.decode(event)
        except _REFUSED as error:
            self.refuse(sent, _malformed(error, start if event == sent else None, event), "invalid_json")
            return
        if b"\n" in event:
            event = msgspec.json.format(event, indent=-1)
        self.add(event)

    def _next_index(self) -> int:
        index = len(self.events) + len(self.rejections)
        if index >= self.limits.max_events:
            raise _too_many(self.limits.max_events)
        return index


def _split_objects_one_by_one(text: bytes, limits: Limits, reader: _Reader) -> _Pieces:
    found = _Found(limits, reader, array=False)
    follow = _Follower(text, limits)
    view = memoryview(text)
    line_end = content_end = 0
    at = _next_mark(text, 0)
    while at < len(text):
        # Once a line and not once an object, of which a line may have very many.
        if at >= line_end:
            line_end = _line_end(text, at)
            content_end = at + len(text[at:line_end].rstrip(_SPACE))
        if _is_event(view[at:content_end], reader):
            found.add(text[at:content_end])
            at = _next_mark(text, line_end)
            continue
        if text[at] != ord("{"):
            found.refuse_no_object(text[at:content_end], at)
            at = _next_mark(text, line_end)
            continue
        sanitized = follow.sound(at) or follow.brackets(at, line_end)
        if not sanitized.closed and sanitized.end == line_end < len(text):
            looks_open = text[content_end - 1] in b"{[,:"  # as pretty-printed lines end
            further = follow.brackets(at, len(text)) if looks_open or follow.may_be_sanitized else sanitized
            if further.closed and (looks_open or _is_event(further.event or text[at : further.end], reader)):
                sanitized = further
            elif looks_open:
                end = _next_start(text, at, line_end)
                found.refuse(text[at:end], further.reason, further.code)
                at = _next_mark(text, end)
                continue
        if not sanitized.closed:
            found.refuse(text[at:content_end], sanitized.reason, sanitized.code)
            at = _next_mark(text, line_end)
            continue
        last_line_end = line_end if sanitized.end <= line_end else _line_end(text, sanitized.end)
        stray = _STRAY.match(text, sanitized.end, last_line_end)
        assert stray is not None  # the pattern matches nothing, too
        rest = text[stray.end() : min(stray.end() + 1, last_line_end)]
        if rest and rest != b"{":
            # What follows may well belong to the object, and then half an event would be stored; so would an object
            # within one that spans lines.
            end = last_line_end if last_line_end == line_end else _next_start(text, at, last_line_end)
            what = f"unexpected {rest.decode('ascii', 'replace')!r} after an object (byte {sanitized.end})"
            found.refuse(text[at:end], f"malformed JSON: {what}", "invalid_json")
            at = _next_mark(text, end)
            continue
        found.judge(text[at : sanitized.end], sanitized, at)
        at = _next_mark(text, sanitized.end if rest else last_line_end)
    return found.pieces()


class _Follower:
    """Follows objects to their end, as long as that stays in proportion to the body.

    How far is counted over all objects of the body, so that many that are not closed cannot make the work grow with
    its square.
    """

    def __init__(self, text: bytes, limits: Limits) -> None:
        self._text = text
        self._view = memoryview(text)
        self._limits = limits
        self._surrogates = _SURROGATE.search(text) is not None
        self._sound_bytes = 16 * len(text) + 64 * 1024  # that may be decoded natively
        self._bytes = 2 * len(text) + 64 * 1024  # that may be passed over in objects that cannot be decoded
        self._tokens = len(text) // 32 + 64 * 1024  # that may be looked at one by one in them
        self.may_be_sanitized = True  # whether the last object was refused for what `sanitize` can put right

    def sound(self, start: int) -> Sanitized | None:
        """Return the object at `start` with the rules of `sanitize` applied; None when its syntax is not good."""
        if self._sound_bytes <= 0:
            return None
        try:
            _RAWS.decode(self._view[start:])
        except _REFUSED as error:
            self.may_be_sanitized = self._surrogates or isinstance(error, RecursionError)
            what = str(error)
            position = _POSITION.search(what)
            followed = int(position[1]) if position else len(self._text) - start
            self._sound_bytes -= followed
            if position is None or "trailing characters" not in what:
                return None
            end = start + followed - 1  # msgspec points at the character after the first of trailing ones
        else:
            self._sound_bytes -= len(self._text) - start
            end = len(self._text)
        sanitized = sanitize(self._text, start, end, self._limits)
        return sanitized if sanitized.closed else None

    def brackets(self, start: int, until: int) -> Sanitized:
        """Return what `sanitize` finds: an object that is not closed where too much was followed already."""
        patience = self._tokens if self._bytes > 0 else 0
        sanitized = sanitize(self._text, start, until, self._limits, patience=patience)
        self._tokens -= sanitized.looked
        self._bytes -= sanitized.end - start
        return sanitized


_STRAY = re.compile(rb"[ \t\r}']*+")  # after an object: holds no data
_NO_OBJECT = "not_an_object"
_MARK = re.compile(rb"[^ \t\r\n]")
_LINE_WITH_OBJECT = re.compile(rb"\n([ \t]*+)\{")


def _next_mark(text: bytes, at: int) -> int:
    mark = _MARK.search(text, at)
    return len(text) if mark is None else mark.start()


def _line_end(text: bytes, at: int) -> int:
    end = text.find(b"\n", at)
    return len(text) if end < 0 else end


def _next_start(text: bytes, at: int, line_end: int) -> int:
    """Return the next line that begins an object and is indented no further than the line of `at`."""
    line = text[text.rfind(b"\n", 0, at) + 1 : at + 1]
    indent = len(line) - len(line.lstrip(b" \t"))
    for start in _LINE_WITH_OBJECT.finditer(text, line_end):
        if len(start.group(1)) <= indent:
            return start.start()
    return len(text)


def _is_event(line: bytes | memoryview, reader: _Reader) -> bool:
    try:
        reader.event.decode(line)
    except _REFUSED:
        return False
    return True


def _split_array_one_by_one(text: bytes, limits: Limits, reader: _Reader) -> _Pieces:
    _check_count(text, limits.max_events, b",", is_array=True)
    found = _Found(limits, reader, array=True)
    starts: Sequence[int]
    try:
        elements = [bytes(raw) for raw in _RAW_LIST.decode(text)]
        starts = [0] * len(elements)  # their syntax is good, so that no message names a position
    except _REFUSED as error:
        # These two are faults of single events, not of the array.
        if not isinstance(error, RecursionError) and _SURROGATE.search(text) is None:
            early = f" (byte {len(text)})" if "truncated" in str(error) else ""
            raise BadRequest(_malformed(error, 0, text) + early) from None
        elements, starts = _elements(text)
    for element, start in zip(elements, starts, strict=True):
        if element[:1] == b"{":
            sanitized = sanitize(element, 0, len(element), limits)
            if sanitized.closed and sanitized.end != len(element):
                what = f"unexpected {element[sanitized.end :].lstrip(_SPACE)[:1].decode('ascii', 'replace')!r}"
                raise BadRequest(f"malformed JSON: {what} after an object (byte {start + sanitized.end})")
            found.judge(element, sanitized, start)
        else:
            found.refuse_no_object(element, start)
    return found.pieces()


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# What opens goes on over the name of a member, whose value opens again: one look at what is nested without end.
_OPENING = rb'(?:[{\[][ \t\r\n]*+(?:"[^"\\{}\[\]\x00-\x1f]*+"[ \t\r\n]*+:[ \t\r\n]*+)?+)++'
_INSIDE = re.compile(skipping(ANY_STRING, 2) + rb"(?:(%s|[}\]]++|\"))?" % _OPENING)
_BETWEEN = re.compile(skipping(ANY_STRING, 2, b",") + rb"(?:([{}\[\]\",]))?")


def _elements(text: bytes) -> tuple[list[bytes], list[int]]:
    """Return the elements of an array whose decoding failed, and where they begin. Raise BadRequest."""
    depth = 1
    start = at = text.index(b"[") + 1
    spans = []
    while depth:
        token = (_BETWEEN if depth == 1 else _INSIDE).match(text, at)
        assert token is not None  # the patterns match nothing, too
        at = token.end()
        run = token[1]
        if run is None:
            raise BadRequest(f"malformed JSON: the array is not closed (byte {len(text)})")
        if run == b'"':
            raise BadRequest(f"malformed JSON: a string is not closed (byte {token.start(1)})")
        if run == b",":
            spans.append((start, token.start(1)))
            start = at
        elif run[0] in b"{[":
            depth += run.count(b"{") + run.count(b"[")
        else:
            # A run may hold the end of the array itself, and what is behind that.
            at = token.start(1) + min(depth, len(run))
            depth -= min(depth, len(run))
    spans.append((start, at - 1))
    if _next_mark(text, at) != len(text):
        raise BadRequest(f"malformed JSON: trailing characters after the array (byte {_next_mark(text, at)})")
    starts = [_next_mark(text, first) for first, _ in spans]
    return [text[first:last].rstrip(_SPACE) for first, (_, last) in zip(starts, spans, strict=True)], starts


_POSITION = re.compile(r"\(byte (\d+)\)")


def _malformed(error: BaseException, start: int | None, text: bytes) -> str:
    """Return what msgspec found wrong in a text, its position counted from the start of the body where `start` is
    known.
    """
    if isinstance(error, RecursionError):
        return "malformed JSON: it is nested too deep to be read"
    what = str(error).removeprefix("JSON is malformed: ").split(" - at ")[0]
    what = what.replace("Input data was truncated", "it ends too early")
    if (fault := number_fault(text, error)) is not None:
        what = fault
    if start is None:
        what = _POSITION.sub("", what).rstrip()
    else:
        # msgspec points at the character after the first of trailing ones.
        first = start - what.startswith("trailing characters")
        what = _POSITION.sub(lambda position: f"(byte {first + int(position[1])})", what)
    return f"malformed JSON: {what}"


# Limits.

_UNCOUNTED_BYTES_PER_EVENT = 16


def _check_count(text: bytes, max_events: int, mark: bytes, *, is_array: bool) -> None:
    """Raise TooLarge for a body of very many tiny events, before they become as many Python objects.

    A body with few of `mark`, which every event has, passes uncounted.
    """
    if text.count(mark) <= 4 * max_events:
        return
    count = 1 if is_array else 0
    for part in nested(text):
        # In an array its commas part the events, elsewhere the ends of objects do.
        commas = (part.codes == ord(",")) & ~part.inside & (part.depths == 1)
        ends = commas if is_array else (part.steps == -1) & (part.depths == 0)
        count += int(np.count_nonzero(ends))
        if count > max_events:
            raise _too_many(max_events)


def _too_many(max_events: int) -> TooLarge:
    return TooLarge(f"the request holds more than max_events = {max_events} events; nothing of it was stored")


def _within_limits(pieces: _Pieces, limits: Limits, reader: _Reader, times: TimeRule, received_ns: int) -> _Pieces:
    marked = prefilter(pieces.ndjson, limits, pieces.ends)
    if not marked:
        return pieces
    lines: list[bytes | None] = [*pieces.ndjson.split(b"\n")[:-1]]
    rejections = list(pieces.rejections)
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
                    pieces.indexes[position],
                    sanitized.reason,
                    sanitized.code,
                    time_ns=_time_of(line, reader, times, received_ns),
                    event=line,
                )
            )
    if not changed:
        return pieces
    kept = [position for position, line in enumerate(lines) if line is not None]
    return _Pieces(
        ndjson=_joined([line for line in lines if line is not None]),
        count=len(kept),
        indexes=[pieces.indexes[position] for position in kept],
        rejections=rejections,
    )


def _time_of(event: bytes, reader: _Reader, rule: TimeRule, received_ns: int) -> int | None:
    """Return the time that a refused event names, where that can be read."""
    try:
        values = reader.values(reader.event.decode_lines(event), event)
    except _REFUSED:
        return None
    found = read_times(values, rule, received_ns)
    return None if found.unreadable or not len(values[0]) else int(found.ns[0])


# Times.


def _timed(pieces: _Pieces, reader: _Reader, rule: TimeRule, received_ns: int) -> tuple[_Pieces, NDArray[np.int64]]:
    heads = reader.event.decode_lines(pieces.ndjson) if pieces.heads is None else pieces.heads
    found = read_times(reader.values(heads, pieces.ndjson), rule, received_ns)
    if not found.unreadable:
        return pieces, found.ns
    lines = pieces.ndjson.split(b"\n")[:-1]
    refused = [
        Rejection(pieces.indexes[position], reason, "invalid_time", event=lines[position])
        for position, reason in found.unreadable.items()
    ]
    kept = [position for position in range(len(lines)) if position not in found.unreadable]
    remaining = _Pieces(
        ndjson=_joined([lines[position] for position in kept]),
        count=len(kept),
        indexes=[pieces.indexes[position] for position in kept],
        rejections=[*pieces.rejections, *refused],
    )
    return remaining, found.ns[kept]
