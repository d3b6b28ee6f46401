"""One event, followed byte by byte: where it ends, which rules it breaks, and what it becomes by them."""

import re
import sys
from functools import lru_cache

import msgspec
from msgspec import Struct

from tailrace.parsing.limits import Limits

# The server's own columns. A client's field of such a name is stored as `_user_` and the name without its underscore.
RESERVED = ("_blockInfo", "_cursor", "_rowID", "_source", "_sysTime")

TOO_LONG = b'"<invalid string: too long>"'
INVALID_DATA = b'"<invalid data>"'

ANY_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+"'


def skipping(string: bytes, levels: int, apart: bytes = b"") -> bytes:
    """Return a pattern of as much as can be passed over at once: strings of that pattern, what is no structure, and
    objects and arrays of nothing but that, so many levels deep. `apart` are further bytes to stop at."""
    plain = rb'[^"{}\[\]]++|%s' % string
    containers = b""
    for _ in range(levels):
        containers = rb"|\{(?:%s%s)*+\}|\[(?:%s%s)*+\]" % (plain, containers, plain, containers)
    return rb'(?:[^"{}\[\]%s]++|%s%s)*+' % (apart, string, containers)


class _TokenPatterns(Struct, frozen=True):
    """Patterns of what is matched one by one: brackets, and the strings that a rule may be about."""

    wide: re.Pattern[bytes]  # passes over small containers too, which may be _SKIPPED_LEVELS deep
    narrow: re.Pattern[bytes]
    blind: re.Pattern[bytes]  # passes over all strings


_SKIPPED_LEVELS = 2
_MEMBER = rb'(?:"[^"\\{}\x00-\x1f]*+"[ \t\r\n]*+:[ \t\r\n]*+)?'  # the name of one whose value is next


@lru_cache(maxsize=8)
def _token_patterns(short_bytes: int) -> _TokenPatterns:
    # Not those that start as the reserved names do, nor those whose text is not all there to be read.
    plain = rb'[^"\\\x00-\x1f\x80-\xff]'
    string = rb'"(?!_)(?:%s{0,%d}+"' % (plain, short_bytes)
    run = (short_bytes - 12) // 7
    if run > 0:
        string += rb'|%s{0,%d}+(?:\\[^u\x00-\x1f\x80-\xff]%s{0,%d}+){1,6}+"' % (plain, run, plain, run)
    string += rb")"
    token = rb"(?:(%s)([ \t\r\n]*+:)?|(\{++|\[++|\}++|\]++|\"))?" % ANY_STRING
    return _TokenPatterns(
        wide=re.compile(skipping(string, _SKIPPED_LEVELS) + token),
        narrow=re.compile(skipping(string, 0) + token),
        blind=re.compile(skipping(ANY_STRING, _SKIPPED_LEVELS) + token.replace(rb"\{++", rb"(?:\{%s)++" % _MEMBER)),
    )


_ESCAPE = re.compile(rb"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING, _COLON, _RUN = 1, 2, 3  # groups of a token
_CLOSER = {0x7B: b"}", 0x5B: b"]"}


class Sanitized(Struct, frozen=True):
    """What became of an event; `event` is None where it is refused or has no end."""

    end: int  # of the event in the text; where it is not closed, as far as it was followed
    event: bytes | None
    closed: bool = True
    reason: str = ""
    code: str = ""
    tokens: int = 0  # that were matched one by one: what the work is in proportion to


def sanitize(text: bytes, start: int, until: int, limits: Limits, *, max_tokens: int = sys.maxsize) -> Sanitized:
    """Follow the object that begins at `start` to its end, no further than `until` and over no more than `max_tokens`
    tokens that cannot be passed over in bulk.

    A value that is too long or is not UTF-8 is replaced by a mark, a container below `max_depth` by null, a reserved
    top-level name by its `_user_` name (with `_` after it as long as the event has that name already). A name that is
    too long or not UTF-8 refuses the event. All else stays byte for byte, in order; whether it is JSON is not
    asked here.
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
        assert token is not None  # the pattern matches nothing, too
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
    """What the rules change in an event while it is followed, and why they refuse it."""

    __slots__ = ("_edits", "_limits", "_names", "_refusal")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._edits: list[tuple[int, int, bytes]] = []
        self._names: list[tuple[int, int, str]] = []  # at the top level
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
        """Return what the event that ends at `end` has become."""
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
    """Return the text of a JSON string; None where that is not Unicode. A bad escape is left for the decoder to
    refuse.
    """
    try:
        if b"\\" not in string:
            return string[1:-1].decode()
        return msgspec.json.decode(string, type=str)
    except UnicodeDecodeError:
        return None
    except msgspec.DecodeError:
        if _SURROGATE.search(string) is None:
            return ""
    # Without its surrogates the rest either is a string, or has a fault of its own.
    rest = _ESCAPE.sub(lambda escape: b"x" if escape.group(1) else escape.group(), string)
    try:
        msgspec.json.decode(rest, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return None


def _sanitize_value(string: bytes, limits: Limits) -> bytes | None:
    if string.isascii() and b"\\u" not in string and len(string) - 2 <= limits.max_string_bytes:
        return None
    text = _decoded(string)
    if text is None:
        return INVALID_DATA
    if len(string) - 2 > limits.max_string_bytes and len(text.encode()) > limits.max_string_bytes:
        return TOO_LONG
    return None


def _read_name(string: bytes, limits: Limits) -> tuple[str, str, str]:
    name = _decoded(string)
    if name is None:
        return "", f"a field name is not valid UTF-8: {string[:60].decode('utf-8', 'replace')}", "invalid_name"
    size = len(name.encode()) if len(string) - 2 > limits.max_name_bytes else 0
    if size > limits.max_name_bytes:
        reason = f"the field name {name[:40] + '…'!r} has {size} bytes; max_name_bytes is {limits.max_name_bytes}"
        return name, reason, "name_too_long"
    return name, "", ""


def number_fault(text: bytes, error: BaseException) -> str | None:
    """Return what to say of a NaN or an infinity where msgspec found a fault in a text; None where it is another
    fault.
    """
    position = _BYTE.search(str(error))
    number = _NO_NUMBER.match(text, max(int(position[1]) - 1, 0)) if position is not None else None
    if number is None:
        return None
    return f"{number[1].decode()} is no number of JSON, send null for it (byte {number.start(1)})"


_BYTE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"[^\w.+-]?([+-]?(?:nan|inf(?:inity)?))\b", re.IGNORECASE)
