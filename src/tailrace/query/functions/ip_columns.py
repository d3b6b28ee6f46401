"""Addresses of version 4 in whole columns of texts at once, as far as they are plainly written."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from tailrace.query.functions.text_bytes import Bytes, Found, Mask, Positions, TextBytes, join_parts, text_bytes

_LONGEST = len("255.255.255.255/32")

# What a row has of each, counted in one sum: a byte of the sum for each kind.
_DOT, _SLASH, _ODD, _FOREIGN = (1 << shift for shift in (0, 8, 16, 24))
_KINDS = np.full(256, _ODD, np.uint32)
_KINDS[[*b"0123456789"]] = 0
_KINDS[ord(".")] = _DOT
_KINDS[ord("/")] = _SLASH
_KINDS[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:"]] = _FOREIGN

_ALL_4 = 2**32 - 1


class Addresses(Struct, frozen=True, eq=False):
    """Addresses as numbers, with the lengths of their prefixes. What is in neither mask may be one all the same."""

    numbers: Positions
    lengths: Positions
    are_there: Mask
    are_none: Mask


def masks(lengths: Positions) -> Positions:
    """Return the bits that belong to prefixes of these lengths."""
    return (_ALL_4 << (32 - lengths)) & _ALL_4


def read_addresses(texts: pa.StringArray) -> Addresses:
    """Read addresses with or without a prefix, of digits, dots and a slash alone."""
    whole = text_bytes(texts)
    sums = np.zeros(len(whole.data) + 1, np.uint32)
    np.cumsum(_KINDS[whole.data], out=sums[1:])
    counts = sums[whole.ends] - sums[whole.starts]
    sizes = whole.ends - whole.starts
    is_short = sizes <= _LONGEST  # so that no byte of a count overflows
    are_none = is_short & ((counts >= _FOREIGN) | (sizes == 0))
    has_prefix = counts == 3 * _DOT + _SLASH
    rows = np.flatnonzero(is_short & (has_prefix | (counts == 3 * _DOT)))
    numbers = np.zeros(len(sizes), np.int64)
    lengths = np.full(len(sizes), 32, np.int64)
    are_there = np.zeros(len(sizes), np.bool_)
    if len(rows):
        ends = whole.ends.copy()
        good = np.ones(len(rows), np.bool_)
        slashed = np.flatnonzero(has_prefix[rows])
        if len(slashed):
            with_slash = rows[slashed]
            slashes = _places(whole, "/", with_slash, 1)[0]
            bits, good[slashed] = _numbers(whole.data, slashes + 1, whole.ends[with_slash], most_digits=2)
            good[slashed] &= bits <= 32
            lengths[with_slash] = np.minimum(bits, 32)
            ends[with_slash] = slashes
        first, second, third = _places(whole, ".", rows, 3)
        edges = np.stack([whole.starts[rows] - 1, first, second, third, ends[rows]])
        octets, are_octets = _numbers(whole.data, edges[:-1] + 1, edges[1:], most_digits=3)
        good &= (are_octets & (octets < 256)).all(axis=0)
        numbers[rows] = octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]
        are_there[rows] = good
    return Addresses(numbers, lengths, are_there, are_none)


def _places(whole: TextBytes, character: str, rows: Positions, count: int) -> list[Positions]:
    """Return where a character is in the rows, each of which has it so many times."""
    places = np.flatnonzero(whole.data == ord(character))
    firsts = np.searchsorted(places, whole.starts[rows])
    return [places[firsts + n] for n in range(count)]


def _numbers(data: Bytes, starts: Positions, ends: Positions, *, most_digits: int) -> tuple[Positions, Mask]:
    """Return the numbers of one to so many digits, and which are some; no digit comes after a zero."""
    sizes = ends - starts
    numbers = np.zeros(starts.shape, np.int64)
    good = (sizes >= 1) & (sizes <= most_digits)
    first = data[np.where(good, starts, 0)]
    good &= (first != ord("0")) | (sizes == 1)
    for n in range(most_digits):
        is_digit = good & (sizes > n)
        digits = data[np.where(is_digit, ends - 1 - n, 0)] - np.uint8(ord("0"))
        good &= ~is_digit | (digits < 10)
        numbers += np.where(is_digit, digits, 0).astype(np.int64) * 10**n
    return numbers, good


def read_numbers(texts: pa.StringArray, addresses: Addresses) -> Addresses:
    """Return the addresses, among them those that are written as one number of digits alone."""
    whole = text_bytes(texts)
    rows = np.flatnonzero(~(addresses.are_there | addresses.are_none))
    if not len(rows):
        return addresses
    numbers, are_there = addresses.numbers.copy(), addresses.are_there.copy()
    numbers[rows], good = _numbers(whole.data, whole.starts[rows], whole.ends[rows], most_digits=10)
    are_there[rows] = good & (numbers[rows] <= _ALL_4)
    return Addresses(numbers, addresses.lengths, are_there, addresses.are_none)


Networks = tuple[tuple[int, Positions], ...]
"""By the length of their prefixes: what these are."""


def networks_by_length(networks: Iterable[tuple[int, int]]) -> Networks:
    """Return networks, which are numbers and the lengths of their prefixes, as `are_in_any` wants them."""
    prefixes: dict[int, set[int]] = {}
    for number, length in networks:
        prefixes.setdefault(length, set()).add(number >> 32 - length)
    return tuple((length, np.array(sorted(some), np.int64)) for length, some in prefixes.items())


def are_in_any(addresses: Addresses, networks: Networks) -> Mask:
    """Whether each address is in one of the networks."""
    found = np.zeros(len(addresses.numbers), np.bool_)
    for length, prefixes in networks:
        found |= np.isin(addresses.numbers >> 32 - length, prefixes)
    return found


_OCTETS = [str(n) for n in range(256)]
_PARTS = pa.array([*_OCTETS, ".", "/"])
_DOT_PART, _SLASH_PART = 256, 257


def write_addresses(numbers: Positions, lengths: Positions | None = None) -> pa.StringArray:
    """Return addresses written with dots, with the lengths of their prefixes if given."""
    places = np.full((len(numbers), 7 if lengths is None else 9), _DOT_PART, np.int64)
    for n in range(4):
        places[:, 2 * n] = numbers >> 24 - 8 * n & 255
    if lengths is not None:
        places[:, 7] = _SLASH_PART
        places[:, 8] = lengths
    return join_parts(_PARTS, places)


Column: TypeAlias = "pa.StringArray | str"
"""Texts, or the one that is in all rows."""


def _read(texts: Column) -> Addresses:
    return read_addresses(pa.array([texts]) if isinstance(texts, str) else texts)


def _found(values: npt.NDArray[Any], otherwise: bool | None, *sides: Addresses) -> Found:
    are_there = np.ones(len(values), np.bool_)
    are_none = np.zeros(len(values), np.bool_)
    for side in sides:
        are_there &= side.are_there
        are_none |= side.are_none
    if otherwise is None:
        return pa.array(values, mask=are_none), are_there | are_none
    return pa.array(np.where(are_none, otherwise, values)), are_there | are_none


def _is_prefix(length: Any) -> bool:
    return isinstance(length, int) and 0 <= length <= 32


def _order(left: Addresses, right: Addresses, prefix: int) -> Positions:
    shifts = 32 - np.minimum(np.minimum(left.lengths, right.lengths), prefix)
    signs: Positions = np.sign((left.numbers >> shifts) - (right.numbers >> shifts))
    return signs


def compare(left: Column, right: Column, prefix: Any) -> Found | None:
    if not _is_prefix(prefix):
        return None
    a, b = _read(left), _read(right)
    return _found(_order(a, b, prefix), None, a, b)


def is_match(left: Column, right: Column, prefix: Any) -> Found | None:
    if not _is_prefix(prefix):
        return None
    a, b = _read(left), _read(right)
    return _found(_order(a, b, prefix) == 0, None, a, b)


def is_in_range(addresses: Column, networks: Column) -> Found:
    a, b = _read(addresses), _read(networks)
    shifts = 32 - b.lengths
    return _found(a.numbers >> shifts == b.numbers >> shifts, False, a, b)


def is_in_any_range(texts: pa.StringArray, networks: Networks) -> Found:
    addresses = read_addresses(texts)
    return _found(are_in_any(addresses, networks), None, addresses)


def is_private(texts: pa.StringArray, networks: Networks) -> Found:
    addresses = read_addresses(texts)
    results = np.zeros(len(texts), np.bool_)
    for network in networks:
        results |= (addresses.lengths >= network[0]) & are_in_any(addresses, (network,))
    return _found(results, False, addresses)


def netmask_suffix(texts: pa.StringArray) -> Found:
    addresses = read_addresses(texts)
    return _found(addresses.lengths, None, addresses)


def parse(texts: pa.StringArray, prefix: Any = 32) -> Found | None:
    if not isinstance(texts, pa.Array) or not _is_prefix(prefix):
        return None
    addresses = read_addresses(texts)
    return _found(addresses.numbers & masks(np.minimum(addresses.lengths, prefix)), None, addresses)


def write(texts: pa.StringArray, prefix: Any, *, suffix: bool) -> Found | None:
    if not isinstance(texts, pa.Array) or not _is_prefix(prefix):
        return None
    addresses = read_numbers(texts, read_addresses(texts))
    lengths = np.minimum(addresses.lengths, prefix)
    return write_addresses(addresses.numbers & masks(lengths), lengths if suffix else None), addresses.are_there
