"""Labels of Loki's streams as text, `{job="x", level="y"}`: as Prometheus and Go write them."""

import re

from tailrace.events import BadRequest
from tailrace.protocols.http import cached

Labels = tuple[tuple[str, str], ...]

_NAME = rb'(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|"(?P<quoted>(?:[^"\\]|\\.)*+)")'
_VALUE = rb'(?:"(?P<double>(?:[^"\\]|\\.)*+)"|\'(?P<single>(?:[^\'\\]|\\.)*+)\'|`(?P<raw>[^`]*+)`)'
_PAIR = re.compile(rb"\s*%s\s*=\s*%s\s*(?P<end>,\s*\}?|\})" % (_NAME, _VALUE), re.DOTALL)
_BEGIN = re.compile(rb"\s*\{\s*(\}?)")
# Go's escapes (the Go specification, "String literals"); any other backslash stands for itself, as clients that escape
# nothing but quote marks mean it.
_ESCAPE = re.compile(rb"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_MAX_SHOWN = 100  # bytes of a text in a message


@cached
def parse_labels(text: bytes) -> Labels:
    """Return the names and values of labels, in order; raise BadRequest for a text that is none."""
    begin = _BEGIN.match(text)
    at = begin.end() if begin else 0
    is_open = begin is not None and not begin[1]
    labels: list[tuple[str, str]] = []
    while is_open:
        pair = _PAIR.match(text, at)
        if pair is None:
            break
        name = pair["name"] if pair["name"] is not None else _unescaped(pair["quoted"])
        if pair["raw"] is not None:
            value = pair["raw"]
        else:
            value = _unescaped(pair["double"] if pair["double"] is not None else pair["single"])
        labels.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
        is_open = not pair["end"].endswith(b"}")
        at = pair.end()
    if begin is None or is_open or text[at:].strip():
        shown = text[:_MAX_SHOWN].decode("utf-8", "replace")
        raise BadRequest(f'the labels {shown!r} of the stream are not written like {{name="value"}}')
    return tuple(labels)


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(_escaped, text) if b"\\" in text else text


def _escaped(escape: "re.Match[bytes]") -> bytes:
    simple, byte, octal, short, long = escape.groups()
    if simple:
        return _SIMPLE.get(simple, simple)
    if byte or octal:
        return bytes((int(byte, 16) if byte else int(octal, 8),))
    code = int(short or long, 16)
    return chr(code).encode() if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else escape[0]
