"""Sanitizing of one event: find its end, replace what the limits forbid, rename reserved fields, or refuse it."""

import re
import sys
from functools import lru_cache

import msgspec
from msgspec import Struct

from tailrace.parsing.limits import Limits
from tailrace.parsing.structure import is_utf8

# The server's own columns. A client's field of such a name is stored as `_user_` and the name without its underscore.
RESERVED = ("_blockInfo", "_cursor", "_rowID", "_source", "_sysTime")

TOO_LONG = b'"<invalid string: too long>"'
INVALID_DATA = b'"<invalid data>"'

ANY_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+"'


def skip_pattern(string: bytes, levels: int, stop_bytes: bytes = b"") -> bytes:
    """Return a pattern that matches as much JSON as can be skipped at once.

    It matches strings of the pattern `string`, everything that is no string and no bracket, and objects and arrays of
    only these, nested up to `levels` deep. It stops at any other string or bracket, and outside of containers at each
    of `stop_bytes`.
    """
    plain = rb'[^"{}\[\]]++|%s' % string
    containers = b""
    for _ in range(levels):
        containers = rb"|\{(?:%s%s)*+\}|\[(?:%s%s)*+\]" % (plain, containers, plain, containers)
    return rb'(?:[^"{}\[\]%s]++|%s%s)*+' % (stop_bytes, string, containers)


class _TokenPatterns(Struct, frozen=True):
    """Patterns that skip what no rule can be about, then match one token: a string, or a run of one bracket."""

    wide: re.Pattern[bytes]  # skips harmless strings, and containers of them up to _SKIPPED_LEVELS deep
    narrow: re.Pattern[bytes]  # skips harmless strings, but no containers: near `max_depth`
    blind: re.Pattern[bytes]  # skips all strings: in a container that is replaced by null


_SKIPPED_LEVELS = 2
_MEMBER = rb'(?:"[^"\\{}\x00-\x1f]*+"[ \t\r\n]*+:[ \t\r\n]*+)?'  # a member's name, up to its value


@lru_cache(maxsize=8)
def _token_patterns(short_bytes: int) -> _TokenPatterns:
    """Return the patterns where no string of up to `short_bytes` is too long for a name or for a value."""
    # A harmless string is short, is ASCII without `\u`, and does not begin with `_` as the reserved names do.
    plain = rb'[^"\\\x00-\x1f\x80-\xff]'
    string = rb'"(?!_)(?:%s{0,%d}+"' % (plain, short_bytes)
    run = (short_bytes - 12) // 7
    if run > 0:
        string += rb'|%s{0,%d}+(?:\\[^u\x00-\x1f\x80-\xff]%s{0,%d}+){1,6}+"' % (plain, run, plain, run)
    string += rb")"
    token = rb"(?:(%s)([ \t\r\n]*+:)?|(\{++|\[++|\}++|\]++|\"))?" % ANY_STRING
    return _TokenPatterns(
        wide=re.compile(skip_pattern(string, _SKIPPED_LEVELS) + token),
        narrow=re.compile(skip_pattern(string, 0) + token),
        blind=re.compile(skip_pattern(ANY_STRING, _SKIPPED_LEVELS) + token.replace(rb"\{++", rb"(?:\{%s)++" % _MEMBER)),
    )


_ESCAPE = re.compile(rb"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING, _COLON, _RUN = 1, 2, 3  # groups of a token
_CLOSER = {0x7B: b"}", 0x5B: b"]"}


def is_within_limits(event: bytes, limits: Limits) -> bool:
    """Whether nothing in an event that is JSON and has no reserved name can break a limit: wrong only towards False."""
    return (
        len(event) <= min(limits.max_event_bytes, limits.max_string_bytes)
        and is_utf8(event)
        and event.count(b"{") + event.count(b"[") <= limits.max_depth
        and (len(event) <= limits.max_name_bytes or not _may_hold_long_name(event, limits.max_name_bytes))
    )


def _may_hold_long_name(event: bytes, max_bytes: int) -> bool:
    if b"\\" in event:
        # Escapes out of the way, at the same length: what is a quote now is one that opens or closes.
        event = event.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return _long_name(max_bytes).search(event) is not None


@lru_cache(maxsize=8)
def _long_name(max_bytes: int) -> re.Pattern[bytes]:
    return re.compile(rb'"[^"]{%d,}+"[ \t\r]*+:' % (max_bytes + 1))


class Sanitized(Struct, frozen=True):
    """What became of an event; `event` is None where it is refused or not closed."""

    end: int  # of the event in the text; where it is not closed, the place of the fault, or `until`
    event: bytes | None
    closed: bool = True  # whether the end of the event was found
    reason: str = ""
    code: str = ""
    tokens: int = 0  # that were matched one by one, to which the time that it took is proportional


def sanitize(text: bytes, start: int, until: int, limits: Limits, *, max_tokens: int = sys.maxsize) -> Sanitized:
    """Return the object that begins at `start` as the rules change it.

    A string that is too long or is not UTF-8 is replaced by a mark, a container below `max_depth` by null, a reserved
    top-level name by its `_user_` name (with `_` after it as long as the event has that name already). A name that is
    too long or not UTF-8 refuses the event. All else stays byte for byte, in order; whether it is valid JSON is not
    checked here.

    The object is not `closed` where its end does not come before `until` or within `max_tokens` tokens (strings and
    brackets that cannot be skipped in bulk), where a string in it has no end, or where a closing bracket does not fit.
    """
    patterns = _token_patterns(min(limits.max_name_bytes, limits.max_string_bytes))
    closers = bytearray(b"}")
    edits = _Edits(limits)
    deep_at = -1 if limits.max_depth else start  # start of a container that is too deep
    at = start + 1
    for tokens in range(max_tokens):
        skipped = len(closers) + _SKIPPED_LEVELS <= limits.max_depth
        pattern = patterns.blind if deep_at >= 0 else patterns.wide if skipped else patterns.narrow
        token = pattern.match(text, at, until)
        assert token is not None  # the pattern matches the empty text, too
        at = token.end()
        kind = token.lastindex
        if kind is None:
            return _unclosed(until, f"an object is not closed (byte {until})", tokens)
        if kind != _RUN:
            if deep_at < 0:
                edits.check_string(token, is_name=kind == _COLON, depth=len(closers))
            continue
        run_at = token.start(_RUN)
        mark = text[run_at]
        depth = len(closers)
        if mark == 0x22:
            return _unclosed(run_at, f"a string is not closed (byte {run_at})", tokens)
        if mark in _CLOSER:
            closers += _CLOSER[mark] * text.count(mark, run_at, at)
            if depth <= limits.max_depth < len(closers):
                deep_at = run_at + limits.max_depth - depth
            continue
        end = min(at, run_at + depth)
        if not closers.endswith(text[run_at:end]):
            run_at += len(closers) - len(closers.rstrip(text[run_at : run_at + 1]))
            return _unclosed(run_at, f"unexpected {text[run_at : run_at + 1].decode()!r} (byte {run_at})", tokens)
        del closers[run_at - end :]
        if len(closers) <= limits.max_depth < depth:
            edits.replace(deep_at, run_at + depth - limits.max_depth, b"null")
            deep_at = -1
        if not closers:
            return edits.sanitized(text, start, end, tokens)
    return _unclosed(until, f"an object is not closed (byte {at})", max_tokens)


class _Edits:
    """The changes that the rules make to an event, collected while it is followed; or why they refuse it."""

    __slots__ = ("_edits", "_limits", "_names", "_refusal")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._edits: list[tuple[int, int, bytes]] = []
        self._names: list[tuple[int, int, str]] = []  # of the top level, with their places
        self._refusal: tuple[str, str] | None = None

    def replace(self, start: int, end: int, replacement: bytes) -> None:
        self._edits.append((start, end, replacement))

    def check_string(self, token: re.Match[bytes], *, is_name: bool, depth: int) -> None:
        """Apply the rules for a name or a value to the string of a token."""
        if not is_name:
            replacement = _sanitize_value(token.group(_STRING), self._limits)
            if replacement is not None:
                self._edits.append((*token.span(_STRING), replacement))
            return
        name, reason, code = _read_name(token.group(_STRING), self._limits)
        if reason and self._refusal is None:
            self._refusal = (reason, code)
        if depth == 1:
            self._names.append((*token.span(_STRING), name))

    def sanitized(self, text: bytes, start: int, end: int, tokens: int) -> Sanitized:
        """Return the event from `start` to `end` with the changes made, or its refusal."""
        if self._refusal is not None:
            reason, code = self._refusal
            return Sanitized(end, None, reason=reason, code=code, tokens=tokens)
        return Sanitized(end, _edited(text, start, end, self._edits + _renamed(self._names)), tokens=tokens)


def _unclosed(end: int, what: str, tokens: int) -> Sanitized:
    return Sanitized(end, None, closed=False, reason=f"malformed JSON: {what}", code="invalid_json", tokens=tokens)


def _edited(text: bytes, start: int, end: int, edits: list[tuple[int, int, bytes]]) -> bytes:
    parts: list[bytes] = []
    at = start
    for edit_start, edit_end, replacement in sorted(edits):
        parts += (text[at:edit_start], replacement)
        at = edit_end
    parts.append(text[at:end])
    return b"".join(parts)


def _renamed(names: list[tuple[int, int, str]]) -> list[tuple[int, int, bytes]]:
    """Return the edits that rename the reserved ones of an event's names."""
    reserved = {name for _, _, name in names} & set(RESERVED)
    if not reserved:
        return []
    present = {name for _, _, name in names}
    stored = {}
    for name in reserved:
        new = "_user" + name
        while new in present:
            new += "_"
        stored[name] = b'"' + new.encode() + b'"'
    return [(start, end, stored[name]) for start, end, name in names if name in stored]


def _decoded(string: bytes) -> str | None:
    """Return the text of a JSON string; None where that is not Unicode, "" where an escape in it is no JSON.

    The latter is refused later, when the event is decoded.
    """
    # Which error a decoder raises for what is no UTF-8 is not the same in all its versions, so it gets none.
    is_unicode = is_utf8(string)
    if b"\\" not in string:
        return string[1:-1].decode() if is_unicode else None
    readable = string if is_unicode else string.decode(errors="replace").encode()
    try:
        text: str = msgspec.json.decode(readable, type=str)
    except msgspec.DecodeError:
        if _SURROGATE.search(string) is None:
            return ""
    else:
        return text if is_unicode else None
    # Without its surrogates the rest either is a string, or has a fault of its own.
    rest = _ESCAPE.sub(lambda escape: b"x" if escape.group(1) else escape.group(), readable)
    try:
        msgspec.json.decode(rest, type=str)
    except msgspec.DecodeError:
        return ""
    return None


def _sanitize_value(string: bytes, limits: Limits) -> bytes | None:
    """Return what replaces a JSON string; None where it stays."""
    if string.isascii() and b"\\u" not in string and len(string) - 2 <= limits.max_string_bytes:
        return None
    text = _decoded(string)
    if text is None:
        return INVALID_DATA
    if len(string) - 2 > limits.max_string_bytes and len(text.encode()) > limits.max_string_bytes:
        return TOO_LONG
    return None


def _read_name(string: bytes, limits: Limits) -> tuple[str, str, str]:
    """Return a name, and the reason and the code of its refusal, both empty where it is allowed."""
    name = _decoded(string)
    if name is None:
        return "", f"a field name is not valid UTF-8: {string[:60].decode('utf-8', 'replace')}", "invalid_name"
    size = len(name.encode()) if len(string) - 2 > limits.max_name_bytes else 0
    if size > limits.max_name_bytes:
        reason = f"the field name {name[:40] + '…'!r} has {size} bytes; max_name_bytes is {limits.max_name_bytes}"
        return name, reason, "name_too_long"
    return name, "", ""


def number_fault(text: bytes, error: BaseException) -> str | None:
    """Return the message for a NaN or an infinity at the place of msgspec's error; None for any other error."""
    position = _BYTE.search(str(error))
    number = _NO_NUMBER.match(text, max(int(position[1]) - 1, 0)) if position is not None else None
    if number is None:
        return None
    return f"{number[1].decode()} is no number of JSON, send null for it (byte {number.start(1)})"


_BYTE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"[^\w.+-]?([+-]?(?:nan|inf(?:inity)?))\b", re.IGNORECASE)
