"""Malformed JSON bodies: their good events found one by one, and why each of the others is refused."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tailrace.events import BadRequest, Rejection
from tailrace.parsing.limits import Limits
from tailrace.parsing.sanitize import ANY_STRING, Sanitized, number_fault, sanitize, skip_pattern
from tailrace.parsing.split_body import (
    DECODE_ERRORS,
    RAW,
    RAW_LIST,
    SPACE,
    SplitBody,
    check_count,
    is_event,
    joined,
    too_many,
)


class _EventCollector:
    """Events and rejections in the order in which they are met."""

    def __init__(self, limits: Limits, decoder: msgspec.json.Decoder[Any], *, is_array: bool) -> None:
        self.limits = limits
        self.decoder = decoder
        self.is_array = is_array  # whose syntax is that of the whole request
        self.events: list[bytes] = []
        self.indexes: list[int] = []
        self.rejections: list[Rejection] = []

    def split(self) -> SplitBody:
        return SplitBody(joined(self.events), len(self.events), self.indexes, self.rejections)

    def add(self, event: bytes) -> None:
        self.indexes.append(self._next_index())
        self.events.append(event)

    def refuse(self, sent: bytes, reason: str, code: str) -> None:
        if self.is_array and code == "invalid_json":
            raise BadRequest(reason)
        self.rejections.append(Rejection(self._next_index(), reason, code, event=sent.strip(SPACE)))

    def refuse_other(self, sent: bytes, start: int) -> None:
        """Refuse what begins at byte `start` of the body and is no object."""
        try:
            RAW.decode(sent)
        except RecursionError:
            pass
        except DECODE_ERRORS as error:
            self.refuse(sent, _syntax_fault(error, start, sent), "invalid_json")
            return
        self.refuse(sent, f"an event is a JSON object, not {sent[:20].decode('utf-8', 'replace')!r}", NOT_AN_OBJECT)

    def add_sanitized(self, sent: bytes, sanitized: Sanitized, start: int) -> None:
        """Add what `sanitize` made of `sent`, which begins at byte `start` of the body, when that is JSON."""
        event = sanitized.event
        if event is None:
            self.refuse(sent, sanitized.reason, sanitized.code)
            return
        try:
            self.decoder.decode(event)
        except DECODE_ERRORS as error:
            self.refuse(sent, _syntax_fault(error, start if event == sent else None, event), "invalid_json")
            return
        if b"\n" in event:
            event = msgspec.json.format(event, indent=-1)
        self.add(event)

    def _next_index(self) -> int:
        index = len(self.events) + len(self.rejections)
        if index >= self.limits.max_events:
            raise too_many(self.limits.max_events)
        return index


def split_objects(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any]) -> SplitBody:
    """Split objects with white space, or nothing, between them; `decoder` is that of an event."""
    collected = _EventCollector(limits, decoder, is_array=False)
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
            collected.add(text[at:content_end])
            at = _skip_space(text, line_end)
            continue
        if text[at] != ord("{"):
            collected.refuse_other(text[at:content_end], at)
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
                collected.refuse(text[at:end], across_lines.reason, across_lines.code)
                at = _skip_space(text, end)
                continue
        if not sanitized.closed:
            collected.refuse(text[at:content_end], sanitized.reason, sanitized.code)
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
            collected.refuse(text[at:end], f"malformed JSON: {what}", "invalid_json")
            at = _skip_space(text, end)
            continue
        collected.add_sanitized(text[at : sanitized.end], sanitized, at)
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
NOT_AN_OBJECT = "not_an_object"
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


def split_array(text: bytes, limits: Limits, decoder: msgspec.json.Decoder[Any]) -> SplitBody:
    """Split an array; raise BadRequest where its own syntax is broken. `decoder` is that of an event."""
    check_count(text, limits.max_events, b",", is_array=True)
    collected = _EventCollector(limits, decoder, is_array=True)
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
            sanitized = sanitize(element, 0, len(element), limits)
            if sanitized.closed and sanitized.end != len(element):
                what = f"unexpected {element[sanitized.end :].lstrip(SPACE)[:1].decode('ascii', 'replace')!r}"
                raise BadRequest(f"malformed JSON: {what} after an object (byte {start + sanitized.end})")
            collected.add_sanitized(element, sanitized, start)
        else:
            collected.refuse_other(element, start)
    return collected.split()


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
