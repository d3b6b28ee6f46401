"""One event, looked at byte by byte: where it ends, which rules it breaks, and what it is with them mended."""

import re
from typing import Final

import msgspec
from msgspec import Struct

from tailrace.intake.limits import Limits

# The server's own columns. A client's field of such a name is stored as `_user_` and the name without its underscore.
RESERVED: Final = ("_blockInfo", "_cursor", "_rowID", "_source", "_sysTime")

TOO_LONG: Final = b'"<invalid string: too long>"'
INVALID_DATA: Final = b'"<invalid data>"'

_TOKEN: Final = re.compile(rb'("(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+")([ \t\r\n]*+:)?|[{}\[\]"]')
_ESCAPE: Final = re.compile(rb"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_CLOSER: Final = {b"{": b"}", b"[": b"]"}


class Mended(Struct, frozen=True):
    """What became of an event; `event` is None where it is refused or has no end."""

    end: int  # of the event in the text; where it is not closed, as far as it was followed
    event: bytes | None
    closed: bool = True
    reason: str = ""
    code: str = ""


def mend(text: bytes, start: int, until: int, limits: Limits) -> Mended:
    """Follow the object that begins at `start` to its end, no further than `until`.

    A value that is too long or is not UTF-8 is replaced by a mark, a container below `max_depth` by null, a reserved
    top-level name by its `_user_` name (with `_` after it as long as the event has that name already). A name that is
    too long or not UTF-8 refuses the event. All else is kept byte for byte, in order; whether it is JSON is not
    asked here.
    """
    closers: list[bytes] = []
    edits: list[tuple[int, int, bytes]] = []
    names: list[tuple[int, int, str]] = []  # at the top level
    refusal: tuple[str, str] | None = None
    cut_at = -1  # start of a container that is too deep
    for token in _TOKEN.finditer(text, start, until):
        mark = text[token.start()]
        if mark == 0x22:
            string = token.group(1)
            if string is None:
                return _unclosed(token.start(), f"a string is not closed (byte {token.start()})")
            if cut_at >= 0:
                continue
            if token.group(2) is None:
                replaced = _mend_value(string, limits)
                if replaced is not None:
                    edits.append((token.start(1), token.end(1), replaced))
                continue
            name, reason, code = _read_name(string, limits)
            if reason and refusal is None:
                refusal = (reason, code)
            if len(closers) == 1:
                names.append((token.start(1), token.end(1), name))
        elif mark in b"{[":
            closers.append(_CLOSER[token.group()])
            if len(closers) == limits.max_depth + 1:
                cut_at = token.start()
        else:
            if not closers or closers.pop() != token.group():
                return _unclosed(token.start(), f"unexpected {token.group().decode()!r} (byte {token.start()})")
            if len(closers) == limits.max_depth:
                edits.append((cut_at, token.end(), b"null"))
                cut_at = -1
            if not closers:
                if refusal is not None:
                    return Mended(token.end(), None, reason=refusal[0], code=refusal[1])
                return Mended(token.end(), _edited(text, start, token.end(), edits + _renamed(names)))
    return _unclosed(until, f"an object is not closed (byte {until})")


def _unclosed(end: int, what: str) -> Mended:
    return Mended(end, None, closed=False, reason=f"malformed JSON: {what}", code="invalid_json")


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
    taken = {name for _, _, name in names}
    stored = {}
    for name in reserved:
        new = "_user" + name
        while new in taken:
            new += "_"
        stored[name] = b'"' + new.encode() + b'"'
    return [(start, end, stored[name]) for start, end, name in names if name in stored]


def _decoded(string: bytes) -> str | None:
    """The text of a JSON string; None where that is not Unicode. A bad escape is left for the decoder to refuse."""
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


def _mend_value(string: bytes, limits: Limits) -> bytes | None:
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
