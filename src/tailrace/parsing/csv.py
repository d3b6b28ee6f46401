"""CSV bodies parsed into events: a row is an event, its values are strings."""

import csv
import io
import re
from collections.abc import Sequence

import msgspec
import numpy as np

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.parsing.limits import Limits
from tailrace.parsing.sanitize import INVALID_DATA, RESERVED, TOO_LONG
from tailrace.parsing.structure import is_utf8
from tailrace.parsing.times import TimeRule, check_rule, read_times

# The module's own limit is one of the process, not of a reader; ours are checked below.
csv.field_size_limit(2**31 - 1)

_BOM = "\ufeff"
_SEPARATOR = re.compile(r'"?sep=([^"\r\n ])"?(?:\r\n?|\n|$)', re.IGNORECASE)  # Excel's line for the delimiter
_NAMED_DELIMITERS = {"": ",", "tab": "\t", "\\t": "\t"}
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # as the decoder leaves it
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def parse_csv(
    body: bytes, *, fields: Sequence[str] | None, delimiter: str, times: TimeRule, limits: Limits, received_ns: int
) -> ParsedBatch:
    """Parse a decoded CSV body (RFC 4180) into events; the first row holds the names unless `fields` does.

    `delimiter` is one character, `tab` or `\\t`; "" is the comma. A line `sep=;` before the names, as Excel writes it,
    names the delimiter too. White space before a cell, blank rows and the space around names are passed over. A row
    with fewer cells than names has no value for the rest, one with more is refused. An empty cell is an empty string,
    but in the time column it means the received time.

    Raise BadRequest for a delimiter, names or a time format that cannot be used; TooLarge (`max_body_bytes`,
    `max_events`).
    """
    check_rule(times)
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; max_body_bytes is {limits.max_body_bytes}")
    separator = _NAMED_DELIMITERS.get(delimiter, delimiter)
    if len(separator) != 1 or separator in '"\r\n ':
        raise BadRequest(f"csv-delimiter {delimiter[:20]!r} is not one character that can part cells")
    is_valid_utf8 = is_utf8(body)
    text = body.decode("utf-8", "strict" if is_valid_utf8 else "surrogateescape").removeprefix(_BOM)
    named = _SEPARATOR.match(text)
    if named is not None:
        separator, text = named[1], text[named.end() :]
    rows = _Rows(text, separator, first_line=1 if named is None else 2)
    header: Sequence[str] | None = fields
    events: list[dict[str, str]] = []
    indexes: list[int] = []
    rejections: list[Rejection] = []
    names: list[str] = []
    if header:
        names = _names(header, limits)
    for cells, problem in rows:
        if not problem and (not cells or (len(cells) == 1 and not cells[0].strip())):
            continue
        if not names:
            if problem:
                raise BadRequest(f"malformed CSV in the row of names: {problem}")
            names = _names(cells, limits)
            continue
        index = len(events) + len(rejections)
        if index >= limits.max_events:
            raise TooLarge(
                f"the request holds more than max_events = {limits.max_events} events; nothing of it was stored"
            )
        if not problem and len(cells) > len(names):
            problem = f"the row has {len(cells)} cells for {len(names)} names"
        if problem:
            sent = rows.sent().encode("utf-8", "surrogateescape")
            rejections.append(Rejection(index, f"malformed CSV: {problem}", "invalid_csv", event=sent))
            continue
        if not is_valid_utf8 or max(map(len, cells)) * 4 > limits.max_string_bytes:
            cells = [_sanitized(cell, limits) for cell in cells]
        events.append(dict(zip(names, cells, strict=False)))
        indexes.append(index)
    return _with_times(events, indexes, rejections, len(body), _time_name(times.field), times, limits, received_ns)


class _Rows:
    """The rows of a text, each with what is wrong with it, or ""."""

    def __init__(self, text: str, delimiter: str, first_line: int) -> None:
        self._lines = io.StringIO(text, newline="")
        self._text = text
        self._start = 0
        self._first_line = first_line
        self._reader = csv.reader(self._lines, delimiter=delimiter, skipinitialspace=True, strict=True)

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> tuple[list[str], str]:
        self._start = self._lines.tell()
        try:
            return next(self._reader), ""
        except csv.Error as error:
            return [], f"{error} (line {self._reader.line_num + self._first_line - 1})"

    def sent(self) -> str:
        """Return the text of the row read last."""
        return self._text[self._start : self._lines.tell()].rstrip("\r\n")


def _names(cells: Sequence[str], limits: Limits) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if not name:
            raise BadRequest("the row of CSV names has an empty name")
        size = len(name.encode("utf-8", "surrogateescape"))
        if _BAD_BYTE.search(name):
            raise BadRequest("the row of CSV names is not valid UTF-8")
        if size > limits.max_name_bytes:
            raise BadRequest(
                f"the CSV name {name[:40] + '…'!r} has {size} bytes; max_name_bytes is {limits.max_name_bytes}"
            )
    if len(set(names)) != len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"the row of CSV names has {duplicate!r} twice")
    for at, name in enumerate(names):
        if name in RESERVED:
            stored = "_user" + name
            while stored in names:
                stored += "_"
            names[at] = stored
    return names


def _time_name(field: str) -> str:
    return "_user" + field if field in RESERVED else field


def _sanitized(cell: str, limits: Limits) -> str:
    if _BAD_BYTE.search(cell):
        return INVALID_DATA[1:-1].decode()
    return TOO_LONG[1:-1].decode() if len(cell.encode()) > limits.max_string_bytes else cell


def _with_times(
    events: list[dict[str, str]],
    indexes: list[int],
    rejections: list[Rejection],
    processed_bytes: int,
    time_name: str,
    rule: TimeRule,
    limits: Limits,
    received_ns: int,
) -> ParsedBatch:
    cells = [event.get(time_name, "").strip() or None for event in events]
    read = read_times(_RAW_LIST.decode(_encode(cells)), rule, received_ns)
    refused = {position: (reason, "invalid_time") for position, reason in read.unreadable.items()}
    if processed_bytes > limits.max_event_bytes:
        for position, event in enumerate(events):
            size = len(_encode(event))
            if size > limits.max_event_bytes:
                reason = f"the event has {size} bytes; max_event_bytes is {limits.max_event_bytes}"
                refused[position] = (reason, "event_too_large")
    ns = read.ns
    if refused:
        for position, (reason, code) in refused.items():
            time_ns = int(ns[position]) if code != "invalid_time" and cells[position] is not None else None
            rejections.append(
                Rejection(indexes[position], reason, code, time_ns=time_ns, event=_encode(events[position]))
            )
        good = [position for position in range(len(events)) if position not in refused]
        events, ns = [events[position] for position in good], ns[good]
    return ParsedBatch(
        events=msgspec.json.Encoder().encode_lines(events),
        times=np.asarray(ns, dtype=np.int64),
        count=len(events),
        processed_bytes=processed_bytes,
        rejections=tuple(sorted(rejections, key=lambda rejection: rejection.index)),
    )
