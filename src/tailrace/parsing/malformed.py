"""The exact way: events of a body found and judged one by one, and why each of the others is refused.

It is taken for what a native scan refuses, which malformed JSON is, for single events that such a scan flags, and for
all where there is no native code.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events import BadRequest, Rejection
from tailrace.parsing.limits import Limits
from tailrace.parsing.sanitize import (
    ANY_STRING,
    Sanitized,
    is_within_limits,
    number_fault,
    sanitize,
    skip_pattern,
)
from tailrace.parsing.split_body import (
    DECODE_ERRORS,
    RAW,
    RAW_LIST,
    SPACE,
    CheckedEvent,
    SplitBody,
    check_count,
    is_event,
    joined,
    too_many,
)
from tailrace.parsing.structure import is_utf8, nested

TimeOf = Callable[[bytes], int | None]  # the time that a refused event names, None where there is none to read
NOT_AN_OBJECT = "not_an_object"


# One event.


def checked_object(
    sent: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any], *, start: int | None = None
) -> CheckedEvent:
    """Return an object as the rules change it; `start` is its place in the body, for messages that name one."""
    line = sent
    if not is_event(sent, decoder):
        sanitized = sanitize(sent, 0, len(sent), limits)
        if sanitized.event is None:
            return CheckedEvent(None, sanitized.reason, sanitized.code)
        line = sanitized.event
        try:
            decoder.decode(line)
        except DECODE_ERRORS as error:
            return CheckedEvent(None, _syntax_fault(error, start if line == sent else None, line), "invalid_json")
    return _checked_line(line, limits)


def _checked_line(line: bytes, limits: Limits) -> CheckedEvent:
    """Return an object that is JSON and has no reserved name."""
    if b"\n" in line:
        line = msgspec.json.format(line, indent=-1)
    if len(line) > limits.max_event_bytes:
        reason = f"the event has {len(line)} bytes; max_event_bytes is {limits.max_event_bytes}"
        return CheckedEvent(None, reason, "event_too_large")
    return _within_limits(line, limits)


def checked_element(element: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any]) -> CheckedEvent:
    """Return an element of an array whose elements are judged alone: what is no UTF-8 is no JSON, sizes are as sent."""
    if len(element) > limits.max_event_bytes:
        return CheckedEvent(None, f"event is larger than {limits.max_event_bytes} bytes", "event_too_large")
    if not element:
        reason = "nothing stands between two commas, or between one and the end of the array"
        return CheckedEvent(None, reason, "invalid_json")
    if not is_utf8(element):
        return CheckedEvent(None, "malformed JSON: it is not valid UTF-8", "invalid_json")
    line = element
    try:
        decoder.decode(element)
    except DECODE_ERRORS as error:
        if element[:1] != b"{":
            return _checked_other(element, 0)
        sanitized = sanitize(element, 0, len(element), limits)
        if sanitized.event is None and sanitized.closed:
            return CheckedEvent(None, sanitized.reason, sanitized.code)
        is_whole = sanitized.closed and sanitized.end == len(element)
        if sanitized.event is None or not is_whole or not is_event(sanitized.event, decoder):
            return CheckedEvent(None, _syntax_fault(error, 0, element), "invalid_json")
        line = sanitized.event
    if b"\n" in line:
        line = msgspec.json.format(line, indent=-1)
    return _within_limits(line, limits)


def _checked_other(sent: bytes, start: int) -> CheckedEvent:
    """Return why what begins at byte `start` and is no object is refused."""
    try:
        RAW.decode(sent)
    except RecursionError:
        pass
    except DECODE_ERRORS as error:
        return CheckedEvent(None, _syntax_fault(error, start, sent), "invalid_json")
    return CheckedEvent(None, f"an event is a JSON object, not {excerpt(sent)}", NOT_AN_OBJECT)


def _within_limits(line: bytes, limits: Limits) -> CheckedEvent:
    if is_within_limits(line, limits):
        return CheckedEvent(line)
    sanitized = sanitize(line, 0, len(line), limits)
    return CheckedEvent(sanitized.event, sanitized.reason, sanitized.code)


def excerpt(text: bytes) -> str:
    """Return the first bytes of a text, for a message."""
    return repr(text[:_EXCERPT_BYTES].decode("utf-8", "replace"))


_EXCERPT_BYTES = 20


# Events of a body.


class _EventCollector:
    """Events and rejections in the order in which they are met."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines: list[bytes] = []
        self._indexes: list[int] = []
        self._rejections: list[Rejection] = []

    def split(self) -> SplitBody:
        return SplitBody(joined(self._lines), len(self._lines), self._indexes, self._rejections)

    def add(self, sent: bytes, checked: CheckedEvent, time_of: TimeOf | None = None) -> None:
        """Add what became of an event, which was sent so."""
        index = len(self._lines) + len(self._rejections)
        if index >= self._limits.max_events:
            raise too_many(self._limits.max_events)
        if checked.line is not None:
            self._indexes.append(index)
            self._lines.append(checked.line)
            return
        time_ns = time_of(sent) if time_of is not None else None
        self._rejections.append(Rejection(index, checked.reason, checked.code, time_ns, event=sent.strip(SPACE)))


def split_objects(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any], time_of: TimeOf) -> SplitBody:
    """Split objects with white space, or nothing, between them; `decoder` is that of an event.

    Raise BadRequest for a body that is only one malformed event.
    """
    split = _split_objects(text, limits, decoder, time_of)
    only = split.rejections[0] if not split.count and len(split.rejections) == 1 else None
    if only is not None and only.code in ("invalid_json", NOT_AN_OBJECT):
        raise BadRequest(only.reason)
    return split


def _split_objects(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any], time_of: TimeOf) -> SplitBody:
    collected = _EventCollector(limits)
    scanner = _ObjectScanner(text, limits)
    view = memoryview(text)
    line_end = content_end = 0
    at = _skip_space(text, 0)
    while at < len(text):
        # Once a line and not once an object, of which a line may have very many.
        if at >= line_end:
            line_end = _line_end(text, at)
            content_end = at + len(text[at:line_end].rstrip(SPACE))
        if is_event(view[at:content_end], decoder):
            collected.add(text[at:content_end], _checked_line(text[at:content_end], limits), time_of)
            at = _skip_space(text, line_end)
            continue
        if text[at] != ord("{"):
            collected.add(text[at:content_end], _checked_other(text[at:content_end], at))
            at = _skip_space(text, line_end)
            continue
        sanitized = scanner.decode(at) or scanner.match_brackets(at, line_end)
        if not sanitized.closed and sanitized.end == line_end < len(text):
            looks_open = text[content_end - 1] in b"{[,:"  # as pretty-printed lines end
            across_lines = (
                scanner.match_brackets(at, len(text)) if looks_open or scanner.may_be_sanitized else sanitized
            )
            if across_lines.closed and (
                looks_open or is_event(across_lines.event or text[at : across_lines.end], decoder)
            ):
                sanitized = across_lines
            elif looks_open:
                end = _next_line_with_object(text, at, line_end)
                collected.add(text[at:end], _refused(across_lines))
                at = _skip_space(text, end)
                continue
        if not sanitized.closed:
            collected.add(text[at:content_end], _refused(sanitized))
            at = _skip_space(text, line_end)
            continue
        last_line_end = line_end if sanitized.end <= line_end else _line_end(text, sanitized.end)
        stray = _STRAY.match(text, sanitized.end, last_line_end)
        assert stray is not None  # the pattern matches nothing, too
        rest = text[stray.end() : min(stray.end() + 1, last_line_end)]
        if rest and rest != b"{":
            # What follows may well belong to the object, and then half an event would be stored; so would an object
            # within one that spans lines.
            end = last_line_end if last_line_end == line_end else _next_line_with_object(text, at, last_line_end)
            what = f"unexpected {rest.decode('ascii', 'replace')!r} after an object (byte {sanitized.end})"
            collected.add(text[at:end], CheckedEvent(None, f"malformed JSON: {what}", "invalid_json"))
            at = _skip_space(text, end)
            continue
        checked = checked_object(text[at : sanitized.end], limits, decoder, start=at)
        collected.add(text[at : sanitized.end], checked, time_of)
        at = _skip_space(text, sanitized.end if rest else last_line_end)
    return collected.split()


class _ObjectScanner:
    """Finds where objects end, as long as the work for that stays in proportion to the body.

    How far is counted over all objects of the body, so that many that are not closed cannot make the work grow with
    its square.
    """

    def __init__(self, text: bytes, limits: Limits) -> None:
        self._text = text
        self._view = memoryview(text)
        self._limits = limits
        self._surrogates = _SURROGATE.search(text) is not None
        self._decodable_bytes = 16 * len(text) + 64 * 1024  # that may be decoded natively
        self._matchable_bytes = 2 * len(text) + 64 * 1024  # that may be followed in objects that cannot be decoded
        self._tokens = len(text) // 32 + 64 * 1024  # that may be matched one by one in them
        self.may_be_sanitized = True  # whether the last object was refused for what `sanitize` can put right

    def decode(self, start: int) -> Sanitized | None:
        """Return the object at `start` with the rules of `sanitize` applied; None when its syntax is broken."""
        if self._decodable_bytes <= 0:
            return None
        try:
            RAW.decode(self._view[start:])
        except DECODE_ERRORS as error:
            self.may_be_sanitized = self._surrogates or isinstance(error, RecursionError)
            what = str(error)
            position = _POSITION.search(what)
            followed = int(position[1]) if position else len(self._text) - start
            self._decodable_bytes -= followed
            if position is None or "trailing characters" not in what:
                return None
            end = start + followed - 1  # msgspec points at the character after the first of trailing ones
        else:
            self._decodable_bytes -= len(self._text) - start
            end = len(self._text)
        sanitized = sanitize(self._text, start, end, self._limits)
        return sanitized if sanitized.closed else None

    def match_brackets(self, start: int, until: int) -> Sanitized:
        """Return what `sanitize` finds: an object that is not closed where too much was followed already."""
        max_tokens = self._tokens if self._matchable_bytes > 0 else 0
        sanitized = sanitize(self._text, start, until, self._limits, max_tokens=max_tokens)
        self._tokens -= sanitized.tokens
        self._matchable_bytes -= sanitized.end - start
        return sanitized


_STRAY = re.compile(rb"[ \t\r}']*+")  # after an object: holds no data
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
_LINE_WITH_OBJECT = re.compile(rb"\n([ \t]*+)\{")


def _skip_space(text: bytes, at: int) -> int:
    character = _NOT_SPACE.search(text, at)
    return len(text) if character is None else character.start()


def _line_end(text: bytes, at: int) -> int:
    end = text.find(b"\n", at)
    return len(text) if end < 0 else end


def _next_line_with_object(text: bytes, at: int, line_end: int) -> int:
    """Return the next line that begins an object and is indented no further than the line of `at`."""
    line = text[text.rfind(b"\n", 0, at) + 1 : at + 1]
    indent = len(line) - len(line.lstrip(b" \t"))
    for start in _LINE_WITH_OBJECT.finditer(text, line_end):
        if len(start.group(1)) <= indent:
            return start.start()
    return len(text)


def _refused(unclosed: Sanitized) -> CheckedEvent:
    return CheckedEvent(None, unclosed.reason, unclosed.code)


# An array that is all of one syntax.


def split_array(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any], time_of: TimeOf) -> SplitBody:
    """Split an array; raise BadRequest where its own syntax is broken. `decoder` is that of an event."""
    check_count(text, limits.max_events, b",", is_array=True)
    collected = _EventCollector(limits)
    starts: Sequence[int]
    try:
        elements = [bytes(raw) for raw in RAW_LIST.decode(text)]
        starts = [0] * len(elements)  # their syntax is good, so that no message names a position
    except DECODE_ERRORS as error:
        # These two are faults of single events, not of the array.
        if not isinstance(error, RecursionError) and _SURROGATE.search(text) is None:
            early = f" (byte {len(text)})" if "truncated" in str(error) else ""
            raise BadRequest(_syntax_fault(error, 0, text) + early) from None
        elements, starts = _elements(text)
    for element, start in zip(elements, starts, strict=True):
        if element[:1] == b"{":
            _check_end(element, start, limits, decoder)
            checked = checked_object(element, limits, decoder, start=start)
        else:
            checked = _checked_other(element, start)
        if checked.code == "invalid_json":
            raise BadRequest(checked.reason)
        collected.add(element, checked, time_of)
    return collected.split()


def _check_end(element: bytes, start: int, limits: Limits, decoder: msgspec.json.Decoder[Any]) -> None:
    """Raise BadRequest where something follows an object in its element."""
    if is_event(element, decoder):
        return
    sanitized = sanitize(element, 0, len(element), limits)
    if sanitized.closed and sanitized.end != len(element):
        what = f"unexpected {element[sanitized.end :].lstrip(SPACE)[:1].decode('ascii', 'replace')!r}"
        raise BadRequest(f"malformed JSON: {what} after an object (byte {start + sanitized.end})")


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# What opens goes on over the name of a member, whose value opens again: one look at what is nested without end.
_OPENING = rb'(?:[{\[][ \t\r\n]*+(?:"[^"\\{}\[\]\x00-\x1f]*+"[ \t\r\n]*+:[ \t\r\n]*+)?+)++'
_INSIDE = re.compile(skip_pattern(ANY_STRING, 2) + rb"(?:(%s|[}\]]++|\"))?" % _OPENING)
_BETWEEN = re.compile(skip_pattern(ANY_STRING, 2, b",") + rb"(?:([{}\[\]\",]))?")


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
    if _skip_space(text, at) != len(text):
        raise BadRequest(f"malformed JSON: trailing characters after the array (byte {_skip_space(text, at)})")
    starts = [_skip_space(text, first) for first, _ in spans]
    return [text[first:last].rstrip(SPACE) for first, (_, last) in zip(starts, spans, strict=True)], starts


# An array whose elements are judged alone: their ends are the commas directly in it, found without a look at what is
# between them.


def split_elements(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any]) -> SplitBody:
    """Split an array so that an element that is no JSON costs only itself.

    Raise BadRequest for a text that is no array, or whose array does not end where it does.
    """
    collected = _EventCollector(limits)
    for start, end in _spans(text):
        element = text[start:end].strip(SPACE)
        collected.add(element, checked_element(element, limits, decoder))
    return collected.split()


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
        raise BadRequest(f"malformed JSON: {excerpt(rest)} follows the array (byte {len(text) - len(rest)})")
    start = text.index(b"[") + 1
    if sum(map(len, ends)) == 0 and not text[start:end].strip(SPACE):
        return
    for commas in ends:
        for comma in commas.tolist():
            yield start, comma
            start = comma + 1
    yield start, end


# Messages.

_POSITION = re.compile(r"\(byte (\d+)\)")


def _syntax_fault(error: BaseException, start: int | None, text: bytes) -> str:
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
