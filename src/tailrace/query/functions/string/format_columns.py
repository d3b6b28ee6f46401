"""CSV, queries of URLs and paths in whole columns of texts at once, as far as they are plainly written."""

import numpy as np
import pyarrow as pa

from tailrace.query.functions.text_bytes import (
    Found,
    Marks,
    Mask,
    Positions,
    TextBytes,
    cut,
    join_parts,
    replace_marks,
    text_bytes,
)

MAX_QUERY_FIELDS = 10_000  # of a URL
_MAX_CSV_BYTES = 100_000  # of a record; the reader refuses longer fields than 128 KiB

_IS_ODD = np.ones(256, np.bool_)  # of bytes; others are the same in the quotes of JSON
_IS_ODD[0x20:0x7F] = False
_IS_ODD[[*b'"\\']] = True


def _are_free_of(whole: TextBytes, is_there: Mask) -> Mask:
    """Whether each text has none of the bytes that are marked."""
    places = np.flatnonzero(is_there)
    are_free: Mask = np.searchsorted(places, whole.starts) == np.searchsorted(places, whole.ends)
    return are_free


def _are_few(good: Mask) -> bool:
    """Whether so few are to be read in bulk that it does not pay."""
    return 2 * int(np.count_nonzero(good)) < len(good)


def parse_csv(texts: pa.StringArray) -> Found | None:
    """Read records without quotes."""
    whole = text_bytes(texts)
    sizes = whole.ends - whole.starts
    good = _are_free_of(whole, _IS_ODD[whole.data]) & (sizes > 0) & (sizes <= _MAX_CSV_BYTES)
    if _are_few(good):
        return None
    commas = np.flatnonzero(whole.data == ord(","))
    marks = Marks(commas, np.ones_like(commas), np.zeros_like(commas))
    size = len(texts)
    found, _, _ = replace_marks(whole, marks, ['","', '["', '"]'], np.full(size, 1), np.full(size, 2))
    return found, good


_ODD, _AND, _EQUALS, _PLUS, _PERCENT = range(1, 6)
_QUERY_KINDS = np.where(_IS_ODD, _ODD, 0).astype(np.uint8)
for _kind, _character in ((_AND, "&"), (_EQUALS, "="), (_PLUS, "+"), (_PERCENT, "%")):
    _QUERY_KINDS[ord(_character)] = _kind
_CONSTANTS = ['","', '":"', " ", '{"', '"}', "{", "}"]
_OPENING, _CLOSING, _OPENING_EMPTY, _CLOSING_EMPTY = range(3, 7)
_CONSTANT_OF_KIND = np.array([0, 0, 0, 1, 2, 2], np.int64)


def parse_urlquery(texts: pa.StringArray) -> Found | None:
    """Read queries of fields of other names each, in which nothing is encoded but blanks in values."""
    whole = text_bytes(texts)
    data, starts, ends = whole.data, whole.starts, whole.ends
    kinds = _QUERY_KINDS[data]
    places = np.flatnonzero(kinds > _ODD)
    kind = kinds[places].astype(np.int64)
    padded = np.append(data, [0, 0])
    is_blank = (kind == _PERCENT) & (padded[places + 1] == ord("2")) & (padded[places + 2] == ord("0"))
    until = np.searchsorted(places, ends)
    counts = np.diff(until, prepend=0)
    row = np.repeat(np.arange(len(texts)), counts)
    is_blank &= places + 3 <= ends[row]
    good = _are_free_of(whole, kinds == _ODD) & (padded[starts] != ord("?"))
    good[row[(kind == _PERCENT) & ~is_blank]] = False
    good &= _are_fields(kind, row, until, counts) & (counts < MAX_QUERY_FIELDS)
    is_empty = starts == ends
    if _are_few(good | is_empty):
        return None
    marks = Marks(places, np.where(is_blank, 3, 1), _CONSTANT_OF_KIND[kind])
    found, parts, before = replace_marks(
        whole, marks, _CONSTANTS, np.where(is_empty, _OPENING_EMPTY, _OPENING),
        np.where(is_empty, _CLOSING_EMPTY, _CLOSING),
    )  # fmt: skip
    is_name = kind == _EQUALS
    names = parts.take(pa.array(before[is_name])).dictionary_encode()
    named = np.sort(row[is_name] * len(names.dictionary) + names.indices.to_numpy())
    if len(named):
        good[named[1:][named[1:] == named[:-1]] // len(names.dictionary)] = False
    return found, good | is_empty


def _are_fields(kind: Positions, row: Positions, until: Positions, counts: Positions) -> Mask:
    """Whether each text is of names, each with a value: `=`, `&` and `=` by turns, and what is encoded after a `=`."""
    good = np.ones(len(counts), np.bool_)
    is_edge = kind <= _EQUALS
    edges_before = np.concatenate([[0], np.cumsum(is_edge)])
    rank = edges_before[:-1] - edges_before[until - counts][row]  # in its text, of an edge
    expects_value = rank % 2 == 1
    good[row[is_edge & ((kind == _AND) != expects_value)]] = False
    good[row[~is_edge & ~expects_value]] = False
    good &= (edges_before[until] - edges_before[until - counts]) % 2 == 1
    return good


_IS_ODD_IN_A_PATH = _IS_ODD.copy()
_IS_ODD_IN_A_PATH[ord(":")] = True
_PATH = ['{"Scheme":"","RootPath":"","DirectoryPath":"', '","DirectoryName":"', '","Filename":"',
         '","Extension":"', '","AlternateDataStreamName":""}']  # fmt: skip


def parse_path(texts: pa.StringArray) -> Found | None:
    """Read paths with slashes, without a scheme, a drive or a stream."""
    whole = text_bytes(texts)
    data, starts, ends = whole.data, whole.starts, whole.ends
    good = _are_free_of(whole, _IS_ODD_IN_A_PATH[data])
    if _are_few(good):
        return None
    slashes = np.concatenate([[-1, -1], np.flatnonzero(data == ord("/"))])
    last = np.searchsorted(slashes, ends) - 1
    has_slash = slashes[last] >= starts
    filenames = np.where(has_slash, slashes[last] + 1, starts)
    directory_ends = np.where(has_slash, slashes[last], starts)
    names = np.where(has_slash, np.maximum(slashes[np.maximum(last - 1, 0)] + 1, starts), starts)
    dots = np.concatenate([[-1], np.flatnonzero(data == ord("."))])
    last_dot = dots[np.searchsorted(dots, ends) - 1]
    extensions = np.where(last_dot >= filenames, last_dot + 1, ends)
    padded = np.append(data, 0)
    good &= padded[filenames] != ord(".")
    edges = np.append(np.stack([starts, names, directory_ends, filenames, extensions], axis=1).ravel(), len(data))
    size = len(edges) - 1
    directory, name, _, filename, extension = (np.arange(n, size, 5) for n in range(5))
    constants = [np.full(len(texts), size + n) for n in range(len(_PATH))]
    order = [constants[0], directory, name, constants[1], name, constants[2], filename, extension, constants[3],
             extension, constants[4]]  # fmt: skip
    return join_parts(cut(whole, edges, _PATH), np.stack(order, axis=1)), good
