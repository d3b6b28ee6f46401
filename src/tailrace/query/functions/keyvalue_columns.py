"""Pairs of keys and values in whole columns of texts at once where they are plainly written; else text by text."""

from functools import lru_cache

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct

from tailrace.query.functions.keyvalues import KeyValueRule, read_pairs
from tailrace.query.functions.text_bytes import Bytes, Mask, Positions, TextBytes, completed, text_bytes
from tailrace.query.functions.udf import column_udf

_OTHER, _ODD, _BLANK, _SEPARATOR, _DELIMITER, _QUOTE = range(6)
_KINDS = np.full(256, _ODD, np.uint8)  # of bytes; odd are those that only `read_pairs` understands
_KINDS[0x20:0x7F] = _OTHER
_KINDS[[*b"'"]] = _ODD
_KINDS[[*b" "]] = _BLANK
_KINDS[[*b",;"]] = _SEPARATOR
_KINDS[[*b"=:"]] = _DELIMITER
_KINDS[[*b'"']] = _QUOTE


class _Pairs(Struct, frozen=True, eq=False):
    """The pairs of all texts, in order: places in their bytes."""

    text: Positions  # the number of the text
    key: Positions  # where it begins
    delimiter: Positions  # where the key ends
    value: Positions
    end: Positions  # of the value


def read_columns(texts: pa.StringArray, rule: KeyValueRule) -> pa.Array:
    """Return for each text, of which none is null, the list of what `read_pairs` returns."""
    if not len(texts):
        return pa.array([], pa.list_(pa.string()))
    if rule != KeyValueRule(rule.keys) or not rule.keys:
        return pa.array([read_pairs(text, rule) for text in texts.to_pylist()], pa.list_(pa.string()))
    whole = text_bytes(texts)
    pairs, is_plain = _plain_pairs(whole)
    found = _values(whole.data, pairs, rule.keys, len(texts))
    if is_plain.all():
        return found
    others = texts.take(pa.array(np.flatnonzero(~is_plain)))
    scanned = [read_pairs(text, rule) for text in others.to_pylist()]
    return completed((found, is_plain), pa.array(scanned, found.type))


def _plain_pairs(whole: TextBytes) -> tuple[_Pairs, Mask]:
    """Return the pairs, and which texts are plain: those of others are not to be believed.

    Plain is a text of printable ASCII whose words, parted by blanks, commas and semicolons, have one delimiter at most,
    nothing but a value in double quotes, and no blank beside a delimiter that would belong to a pair.
    """
    data, starts, ends = whole.data, whole.starts, whole.ends
    kinds = _KINDS[data]
    is_plain = np.ones(len(starts), np.bool_)

    def text_of(places: Positions) -> Positions:
        return np.searchsorted(ends, places, "right")

    def exclude(places: Positions) -> None:
        is_plain[text_of(places)] = False

    exclude(np.flatnonzero(kinds == _ODD))
    is_delimiter, is_blank = kinds == _DELIMITER, kinds == _BLANK
    exclude(np.flatnonzero(is_blank[:-1] & is_delimiter[1:]))
    exclude(np.flatnonzero((data[:-1] == ord(":")) & is_blank[1:]))
    quotes = np.flatnonzero(kinds == _QUOTE)
    if len(quotes):
        within = text_of(quotes)
        uneven = np.flatnonzero(np.bincount(within, minlength=len(starts)) % 2)
        is_plain[uneven] = False
        even = ~np.isin(within, uneven)
        quotes, within = quotes[even], within[even]
        opening, closing = quotes[::2], quotes[1::2]
        is_first = opening == starts[within[::2]]
        exclude(opening[is_first | (kinds[np.maximum(opening - 1, 0)] != _DELIMITER)])
        following = kinds[np.minimum(closing + 1, len(kinds) - 1)]
        is_last = closing + 1 == ends[within[1::2]]
        exclude(closing[~is_last & (following != _BLANK) & (following != _SEPARATOR)])
    delimiters = np.flatnonzero(is_delimiter)
    separators = np.flatnonzero(is_blank | (kinds == _SEPARATOR))
    if len(quotes):
        delimiters = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    texts = text_of(delimiters)
    edges = np.concatenate([[-1], separators, [len(data)]])
    following_edge = np.searchsorted(edges, delimiters)
    keys = np.maximum(edges[following_edge - 1] + 1, starts[texts])
    ends_of_values = np.minimum(edges[following_edge], ends[texts])
    exclude(delimiters[1:][keys[1:] == keys[:-1]])
    values = delimiters + 1
    is_quoted = (values < ends_of_values) & (kinds[np.minimum(values, len(kinds) - 1)] == _QUOTE)
    return _Pairs(texts, keys, delimiters, values + is_quoted, ends_of_values - is_quoted), is_plain


def _values(data: Bytes, pairs: _Pairs, keys: tuple[str, ...], count: int) -> pa.Array:
    """Return the value of each key in each of so many texts, the first where it comes twice."""
    starts = np.zeros((count, len(keys)), np.int64)
    lengths = np.full((count, len(keys)), -1, np.int64)
    key_lengths = pairs.delimiter - pairs.key
    for number, key in enumerate(keys):
        written = np.frombuffer(key.encode(), np.uint8)
        places = np.flatnonzero(key_lengths == (len(written) or -1))  # no plain key is empty
        for at, byte in enumerate(written):
            places = places[data[pairs.key[places] + at] == byte]
        texts, firsts = np.unique(pairs.text[places], return_index=True)
        places = places[firsts]
        starts[texts, number] = pairs.value[places]
        lengths[texts, number] = np.maximum(pairs.end[places] - pairs.value[places], 0)
    is_there = lengths.ravel() >= 0
    sizes = np.maximum(lengths.ravel(), 0)
    value_offsets = np.concatenate([[0], np.cumsum(sizes)])
    places = np.repeat(starts.ravel() - value_offsets[:-1], sizes) + np.arange(value_offsets[-1])
    strings = pa.Array.from_buffers(
        pa.string(),
        len(sizes),
        [
            pa.array(is_there).buffers()[1],
            pa.py_buffer(value_offsets.astype(np.int32)),
            pa.py_buffer(data[places]),
        ],
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * len(keys)), strings)


@lru_cache(maxsize=64)
def _rule(written: str) -> KeyValueRule:
    return msgspec.json.decode(written, type=KeyValueRule)


@column_udf("apl_parse_kv", ["VARCHAR", "VARCHAR"], "VARCHAR[]")
def _parse_kv(texts: pa.Array, rules: pa.Array) -> pa.Array:
    """Return the values of a rule's keys in each text, in their order; `rules` holds one rule as JSON, in every row."""
    rule = _rule(rules[0].as_py()) if len(rules) else None
    if rule is None:
        return pa.array([], pa.list_(pa.string()))
    encoded = texts.dictionary_encode()
    rows = read_columns(encoded.dictionary, rule)
    return rows if len(rows) == len(texts) else rows.take(encoded.indices)
