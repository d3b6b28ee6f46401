"""Documents of a request that are told apart already, one event each, as the lines of a bulk request are."""

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
from msgspec import Struct

from tailrace.events import BadRequest, ParsedBatch, Rejection
from tailrace.events.timestamps import Int64s
from tailrace.native.scanner import ROW_END, ROW_START, SPANS_LINES, Scanned
from tailrace.parsing.fields import Column, Columns, EventReader, event_reader, is_readable
from tailrace.parsing.json import scan, split_scanned, without_unreadable
from tailrace.parsing.limits import ExactWayNeeded, Limits
from tailrace.parsing.malformed import checked_element
from tailrace.parsing.split_body import SPACE, CheckedEvent, SplitBody, joined, too_many
from tailrace.parsing.times import Texts, TimeRule, read_times

NO_DOCUMENT = CheckedEvent(None, "there is no document: the line is empty", "invalid_json")


def parse_documents(
    documents: Sequence[bytes],
    *,
    times: tuple[str, ...],
    limits: Limits,
    received_ns: int,
    in_bulk: bool = False,
) -> ParsedBatch:
    """Parse documents into events; what is not exactly one JSON object, within the limits, is a rejection.

    `times` are top-level fields, of which the first that an event has, and that is not null, is its time; an event
    whose time cannot be read is a rejection, and one without has `received_ns`. The index of a rejection is that of
    its document. Values are sanitized as `parse_array` does.

    Raise BadRequest for a field of times that cannot be looked for, TooLarge past `max_events`; with `in_bulk`
    ExactWayNeeded.
    """
    if len(documents) > limits.max_events:
        raise too_many(limits.max_events)
    unreadable_name = next((name for name in times if not is_readable(name)), None)
    if unreadable_name is not None:
        raise BadRequest(f"the time cannot be in the field {unreadable_name!r}: the name is reserved, or no plain text")
    reader = _reader(times, limits)
    body = joined(documents)
    scanned = scan(body, 0, reader.events, is_array=False)
    if scanned is not None and not _is_one_each(scanned, documents):
        scanned = None
    if in_bulk and documents and (scanned is None or scanned.flags & ~SPANS_LINES):
        raise ExactWayNeeded
    judge = partial(checked_element, limits=limits, decoder=reader.events.decoder)
    if scanned is not None:
        split = split_scanned(body, scanned, reader.events, limits, judge)
    else:
        split = _split_exactly(documents, judge)
    columns = reader.events.decoded(split.ndjson) if split.columns is None else split.columns
    ns, unreadable = _times_of(columns, reader.rules, split.count, received_ns, in_bulk=in_bulk)
    if unreadable:
        split, ns = without_unreadable(split, ns, unreadable)
    return ParsedBatch(
        events=split.ndjson,
        times=ns,
        count=split.count,
        processed_bytes=len(body),
        rejections=tuple(sorted(split.rejections, key=lambda rejection: rejection.index)),
    )


def document_lines(body: bytes, limits: Limits) -> list[bytes]:
    """Return the lines of a decoded body that are not blank; raise TooLarge for many more than `max_events`."""
    # Counted first: a list of very many empty lines is much larger than the body.
    if body.count(b"\n") > 2 * limits.max_events:
        raise too_many(limits.max_events)
    return [line for line in body.split(b"\n") if line.strip(SPACE)]


class _Reader(Struct, frozen=True, eq=False):
    """Reads documents, and their fields of times."""

    events: EventReader
    rules: tuple[TimeRule, ...]


@lru_cache(maxsize=256)
def _reader(times: tuple[str, ...], limits: Limits) -> _Reader:
    return _Reader(event_reader(times, limits), tuple(map(TimeRule, times)))


def _is_one_each(scanned: Scanned, documents: Sequence[bytes]) -> bool:
    """Return whether each object that a scan of the joined documents found is within the document of its number."""
    if scanned.count != len(documents):
        return False
    if not documents:
        return True
    ends = np.cumsum(np.fromiter(map(len, documents), dtype=np.int64, count=len(documents)) + 1)
    rows = scanned.rows()
    begins = np.concatenate((ends[:1] * 0, ends[:-1]))
    return bool((rows[:, ROW_START] >= begins).all() and (rows[:, ROW_END] < ends).all())


def _split_exactly(documents: Sequence[bytes], judge: "partial[CheckedEvent]") -> SplitBody:
    lines: list[bytes] = []
    indexes: list[int] = []
    rejections: list[Rejection] = []
    for index, document in enumerate(documents):
        sent = document.strip(SPACE)
        checked = judge(sent) if sent else NO_DOCUMENT
        if checked.line is not None:
            lines.append(checked.line)
            indexes.append(index)
        else:
            rejections.append(Rejection(index, checked.reason, checked.code, event=sent))
    return SplitBody(joined(lines), len(lines), indexes, rejections)


def _times_of(
    columns: Columns, rules: Sequence[TimeRule], count: int, received_ns: int, *, in_bulk: bool
) -> tuple[Int64s, dict[int, str]]:
    """Return the time of each event, and why those at some positions have none that can be read."""
    ns = np.full(count, received_ns, dtype=np.int64)
    unreadable: dict[int, str] = {}
    for rule, column in reversed(list(zip(rules, columns, strict=True))):
        present = _present(column)
        if not len(present):
            continue
        values = column.at(present) if isinstance(column, Texts) else [column[position] for position in present]
        read = read_times(values, rule, received_ns, in_bulk=in_bulk)
        ns[present] = read.ns
        if unreadable:
            for position in present.tolist():
                unreadable.pop(position, None)
        unreadable |= {int(present[position]): reason for position, reason in read.unreadable.items()}
    return ns, unreadable


def _present(column: Column) -> "np.typing.NDArray[np.intp]":
    """Return the positions of the events that have the field, and not as null."""
    if not isinstance(column, Texts):
        return np.array([at for at, value in enumerate(column) if value and value != _NULL], dtype=np.intp)
    lengths = column.ends - column.starts
    present = lengths > 0
    for at in np.flatnonzero(lengths == len(_NULL)).tolist():
        present[at] = column[at] != _NULL
    return np.flatnonzero(present)


_NULL = b"null"
