"""Escapes of JSON that are half of a character: what remains where a client cut a text in the middle of one.

No decoder of UTF-8 takes them, so that one of them would cost a whole body.
"""

import re

_BEGINNINGS = (b"\\ud", b"\\uD")
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UP_TO_HALF = re.compile(rb"(?:[^\\]++|%s|(?!%s)\\.)*+(%s)" % (_PAIR, _HALF, _HALF), re.DOTALL)
_REPLACEMENT = b"\\ufffd"


def with_whole_characters(text: bytes) -> bytes:
    r"""Return JSON with `\ufffd` for each escape that is half of a surrogate pair; all else stays byte for byte."""
    if not any(beginning in text for beginning in _BEGINNINGS):
        return text
    parts: list[bytes] = []
    at = 0
    while (half := _UP_TO_HALF.match(text, at)) is not None:
        parts += (text[at : half.start(1)], _REPLACEMENT)
        at = half.end()
    parts.append(text[at:])
    return b"".join(parts)
