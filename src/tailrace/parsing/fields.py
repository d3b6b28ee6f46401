"""The top-level fields of events that are read: where a scan finds them, and a decoder that reads them exactly."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, UnsetType

from tailrace.native.scanner import HEAD_CELLS, ROW_VALUES, Bounds, Names, Scanned, Scanner, scanner
from tailrace.parsing.limits import Limits
from tailrace.parsing.sanitize import RESERVED
from tailrace.parsing.times import Texts

Column = Texts | list[bytes]  # the JSON text of a field, one an event, empty where it has none
Columns = Sequence[Column]

_NEVER = Annotated[int, Meta(ge=1, le=0)]  # no value fits this type, so that a reserved name fails the decoding
_FEW = 12  # events, of which the fields are cut out one by one


class EventReader(Struct, frozen=True, eq=False):
    """Reads some fields of events."""

    scanner: Scanner | None  # which looks for the same fields; None where there is no native code
    decoder: msgspec.json.Decoder[Any]  # of one event; it refuses a reserved name
    decoded: Callable[[bytes], Columns]  # of NDJSON without reserved names


_UNREADABLE = re.compile(r'["\\\x00-\x1f]')


def is_readable(name: str) -> bool:
    """Return whether an `event_reader` can look for a field of this name."""
    return name not in RESERVED and _UNREADABLE.search(name) is None


@lru_cache(maxsize=256)
def event_reader(names: tuple[str, ...], limits: Limits) -> EventReader:
    """Return what reads the fields of these names, which are all different, a column each."""
    bounds = Bounds(
        max_depth=limits.max_depth,
        max_name_bytes=limits.max_name_bytes,
        max_string_bytes=limits.max_string_bytes,
        max_event_bytes=limits.max_event_bytes,
    )
    sought = Names(tuple(name.encode() for name in names), tuple(name.encode() for name in RESERVED))
    renamed = {f"field_{column}": name for column, name in enumerate(names)}
    members: list[Any] = [(attribute, Raw, Raw(b"")) for attribute in renamed]
    for index, name in enumerate(RESERVED):
        members.append((f"reserved_{index}", _NEVER | UnsetType, msgspec.UNSET))
        renamed[f"reserved_{index}"] = name
    head = msgspec.defstruct("Head", members, rename=renamed, gc=False, frozen=True)
    decoder = msgspec.json.Decoder(head)
    return EventReader(
        scanner=scanner(sought, bounds, max_events=limits.max_events),
        decoder=decoder,
        decoded=partial(_decoded, decoder, len(names)),
    )


def _decoded(decoder: msgspec.json.Decoder[Any], columns: int, ndjson: bytes) -> Columns:
    heads = decoder.decode_lines(ndjson)
    return [Texts.of(list(map(attrgetter(f"field_{column}"), heads))) for column in range(columns)]


def scanned_columns(body: bytes, scanned: Scanned) -> Columns:
    """Return the fields where a scan of `body` found them."""
    ends = range(ROW_VALUES + 1, scanned.width, 2)
    if scanned.count > _FEW:
        rows = scanned.rows().T.copy()
        return [Texts(body, rows[end - 1], rows[end]) for end in ends]
    cells = scanned.cells[HEAD_CELLS : HEAD_CELLS + scanned.count * scanned.width].tolist()
    if scanned.count == 1:
        return [[body[start:end]] for start, end in zip(cells[ROW_VALUES::2], cells[ROW_VALUES + 1 :: 2], strict=True)]
    return [[body[cells[at + end - 1] : cells[at + end]] for at in range(0, len(cells), scanned.width)] for end in ends]
