"""Texts of Arrow arrays as the bytes they are made of, and arrays made of parts of them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Found = tuple[pa.Array, Mask]
"""Results of the rows of a column, and which of them are right."""


class TextBytes(Struct, frozen=True, eq=False):
    """The bytes of all texts one after the other, and where in them each text begins and ends."""

    data: Bytes
    starts: Positions
    ends: Positions


def text_bytes(texts: pa.StringArray) -> TextBytes:
    """Return the bytes of texts, from 0 on; a null has any."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets.astype(np.int64) - offsets[0]
    return TextBytes(data, offsets[:-1], offsets[1:])


def completed(found: Found, others: pa.Array) -> pa.Array:
    """Return the results that are right, and in the places of the rest, in order, the others."""
    results, is_done = found
    places = np.arange(len(results))
    places[~is_done] = len(results) + np.arange(len(others))
    return pa.concat_arrays([results, others]).take(pa.array(places))


def join_parts(parts: pa.StringArray, places: Positions) -> pa.StringArray:
    """Return a text for each row of `places`: the parts of these numbers, joined."""
    count, width = places.shape
    joined = parts.take(pa.array(places.ravel()))
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[: count * width + 1 : width]
    return pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(np.ascontiguousarray(offsets)), joined.buffers()[2]]
    )


def cut(whole: TextBytes, edges: Positions, constants: list[str]) -> pa.StringArray:
    """Return the parts of the bytes between edges, which rise from 0 to the end, and after them the constants."""
    added = np.frombuffer("".join(constants).encode(), np.uint8)
    ends = np.cumsum([len(each.encode()) for each in constants], dtype=np.int64) + len(whole.data)
    offsets = np.concatenate([edges, ends]).astype(np.int32)
    data = np.concatenate([whole.data, added])
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


class Marks(Struct, frozen=True, eq=False):
    """Places in the texts, in order, with what to write there instead of so many bytes."""

    places: Positions
    widths: Positions
    constants: Positions  # their numbers


def replace_marks(
    whole: TextBytes, marks: Marks, constants: list[str], opening: Positions, closing: Positions
) -> tuple[pa.StringArray, pa.StringArray, Positions]:
    """Return the texts with constants for their marks, and one at either end.

    And the parts between the marks, with the number of the part before each mark.
    """
    rows, size = len(whole.starts), len(marks.places)
    until = np.searchsorted(marks.places, whole.ends)
    counts = np.diff(until, prepend=0)
    row = np.repeat(np.arange(rows), counts)
    # A row of n marks has 2 n + 1 parts: what is before each mark, the mark, and what is after the last.
    firsts = 2 * (until - counts) + np.arange(rows)
    before = 2 * np.arange(size) + row
    edges = np.empty(2 * size + rows + 1, np.int64)
    edges[firsts] = whole.starts
    edges[before + 1] = marks.places
    edges[before + 2] = marks.places + marks.widths
    edges[-1] = len(whole.data)
    parts = cut(whole, edges, constants)
    numbers = np.empty(2 * size + 3 * rows, np.int64)
    numbers[np.arange(2 * size + rows) + 2 * np.repeat(np.arange(rows), 2 * counts + 1) + 1] = np.arange(
        2 * size + rows
    )
    numbers[before + 1 + 2 * row + 1] = marks.constants + 2 * size + rows
    numbers[firsts + 2 * np.arange(rows)] = opening + 2 * size + rows
    numbers[firsts + 2 * np.arange(rows) + 2 * counts + 2] = closing + 2 * size + rows
    joined = parts.take(pa.array(numbers))
    offsets = np.frombuffer(joined.buffers()[1], np.int32)
    ends = np.append(firsts + 2 * np.arange(rows), len(numbers))
    texts = pa.Array.from_buffers(
        pa.string(), rows, [None, pa.py_buffer(np.ascontiguousarray(offsets[ends])), joined.buffers()[2]]
    )
    return texts, parts, before
