"""Values of msgpack one behind the other: where each ends, in whatever pieces they come, and what a broken one holds.

Source: the specification of MessagePack, github.com/msgpack/msgpack/blob/master/spec.md.
"""

import math
import struct
from base64 import b64encode
from typing import Any

from tailrace.events import BadRequest, TailraceError, TooLarge
from tailrace.parsing.msgpack import no_number

MAX_DEPTH = 100

# By the first byte: bytes of the length or the number that follows it, bytes of the value, values in it.
_FIXED: list[tuple[int, int, int]] = []
for _first in range(256):
    if 0x80 <= _first <= 0x8F:
        _FIXED.append((0, 0, 2 * (_first & 0x0F)))
    elif 0x90 <= _first <= 0x9F:
        _FIXED.append((0, 0, _first & 0x0F))
    elif 0xA0 <= _first <= 0xBF:
        _FIXED.append((0, _first & 0x1F, 0))
    else:
        _FIXED.append((0, 0, 0))
for _first, _size in (
    *zip(range(0xCA, 0xD4), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8), strict=True),  # numbers
    *zip(range(0xD4, 0xD9), (2, 3, 5, 9, 17), strict=True),  # extensions of a fixed size, with their type
):
    _FIXED[_first] = (0, _size, 0)
# By the first byte: bytes of the length, values for each that it counts (0: it counts bytes), bytes beside those.
_COUNTED = {
    **dict(zip(range(0xC4, 0xC7), ((1, 0, 0), (2, 0, 0), (4, 0, 0)), strict=True)),  # bin
    **dict(zip(range(0xC7, 0xCA), ((1, 0, 1), (2, 0, 1), (4, 0, 1)), strict=True)),  # extensions
    **dict(zip(range(0xD9, 0xDC), ((1, 0, 0), (2, 0, 0), (4, 0, 0)), strict=True)),  # str
    0xDC: (2, 1, 0),
    0xDD: (4, 1, 0),  # arrays
    0xDE: (2, 2, 0),
    0xDF: (4, 2, 0),  # maps
}
_UNUSED = 0xC1


class MsgpackFrames:
    """Splits a stream of bytes into values, which are bounded in their bytes and in how many values are in each."""

    def __init__(self, max_bytes: int, max_values: int) -> None:
        self.fault: TailraceError | None = None
        self.max_bytes = max_bytes
        self._max_values = max_values
        self._buffer = bytearray()
        self._at = 0  # up to there the value is known
        self._missing = 1  # values that have not begun
        self._values = 0

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a value that is not whole."""
        return len(self._buffer)

    def split(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the values that are whole now."""
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while self.fault is None and self._walk(start):
            frames.append(bytes(self._buffer[start : self._at]))
            start = self._at
            self._missing, self._values = 1, 0
        del self._buffer[:start]
        self._at -= start
        return frames

    def _walk(self, start: int) -> bool:
        """Go on in the value that begins there; return whether it is whole."""
        buffer, at, missing = self._buffer, self._at, self._missing
        length = len(buffer)
        while missing and at < length:
            first = buffer[at]
            counted = _COUNTED.get(first)
            if counted is None:
                _, size, inner = _FIXED[first]
                after = at + 1 + size
            else:
                width, each, beside = counted
                if at + 1 + width > length:
                    break
                count = int.from_bytes(buffer[at + 1 : at + 1 + width], "big")
                after = at + 1 + width + beside + (0 if each else count)
                inner = count * each
            self._values += inner
            if first == _UNUSED:
                self.fault = BadRequest("this is no msgpack")
            elif after - start > self.max_bytes:
                self.fault = TooLarge(f"a message has more than {self.max_bytes} bytes")
            elif self._values > self._max_values:
                self.fault = TooLarge(f"a message has more than {self._max_values} values")
            if self.fault is not None:
                return False
            at = after
            missing += inner - 1
        self._at, self._missing = at, missing
        return not missing and at <= length


def values_of(data: bytes, max_values: int) -> list[bytes]:
    """Return the values that stand one behind the other; raise BadRequest where the last is not whole, TooLarge."""
    frames = MsgpackFrames(len(data), max_values)
    values = frames.split(data)
    if frames.fault is not None:
        raise frames.fault
    if frames.pending_bytes:
        raise BadRequest("the last event of a chunk is not whole")
    return values


def payload_of(value: bytes) -> bytes:
    """Return the bytes of a str or bin value; raise BadRequest for any other."""
    first = value[0]
    if 0xA0 <= first <= 0xBF:
        return value[1:]
    if 0xC4 <= first <= 0xC6 or 0xD9 <= first <= 0xDB:
        return value[1 + _COUNTED[first][0] :]
    raise BadRequest("a text or bytes are missing")


_NUMBERS = dict(
    zip(
        range(0xCA, 0xD4), map(struct.Struct, (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q")), strict=True
    )
)
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def decode_leniently(value: bytes, ext_hook: Any) -> Any:
    """Return what msgspec does for a whole value, but with U+FFFD for what is no UTF-8 in a text.

    Raise BadRequest for what is nested too deeply.
    """
    decoded, _ = _decode(value, 0, ext_hook, 0)
    return decoded


def _decode(data: bytes, at: int, ext_hook: Any, depth: int) -> tuple[Any, int]:
    first = data[at]
    if first <= 0x7F or first >= 0xE0:
        return (first if first <= 0x7F else first - 256), at + 1
    if first in _CONSTANTS:
        return _CONSTANTS[first], at + 1
    number = _NUMBERS.get(first)
    if number is not None:
        return number.unpack_from(data, at + 1)[0], at + 1 + number.size
    width, each, beside = _COUNTED.get(first, (0, 0, 0))
    _, size, inner = _FIXED[first]
    start = at + 1 + width
    if width:
        size = int.from_bytes(data[at + 1 : start], "big")
        inner = size * each
    if 0x80 <= first <= 0x9F or each:
        return _decode_container(data, start, inner, first, ext_hook, depth)
    if 0xD4 <= first <= 0xD8 or beside:
        end = start + size + beside
        return ext_hook(int.from_bytes(data[start : start + 1], "big", signed=True), data[start + 1 : end]), end
    raw = data[start : start + size]
    is_text = 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB
    return (raw.decode("utf-8", "replace") if is_text else raw), start + size


def _decode_container(data: bytes, at: int, inner: int, first: int, ext_hook: Any, depth: int) -> tuple[Any, int]:
    if depth >= MAX_DEPTH:
        raise BadRequest(f"an event has more than {MAX_DEPTH} levels")
    found = []
    for _ in range(inner):
        value, at = _decode(data, at, ext_hook, depth + 1)
        found.append(value)
    if 0x80 <= first <= 0x8F or first >= 0xDE:
        try:
            return dict(zip(found[::2], found[1::2], strict=True)), at
        except TypeError:  # a list or a map as a key
            raise BadRequest("a key of an event is no text") from None
    return found, at


def plain(value: Any) -> Any:
    """Return a decoded value as JSON has it: bytes as text where they are UTF-8, else in base64; keys as text.

    A float that is no number is "NaN", "Infinity" or "-Infinity".
    """
    kind = type(value)
    if kind is dict:
        return {name if type(name) is str else _key(name): plain(each) for name, each in value.items()}
    if kind is list:
        return [plain(each) for each in value]
    if kind is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return b64encode(value).decode()
    if kind is float and not math.isfinite(value):
        return no_number(value)
    return value


def _key(name: Any) -> str:
    return str(plain(name)) if isinstance(name, bytes) else str(name)
