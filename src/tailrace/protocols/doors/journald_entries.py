"""The journal export format: entries of fields, as `journalctl -o export` and systemd-journal-upload write them.

https://systemd.io/JOURNAL_EXPORT_FORMATS/ describes it, and how an entry is JSON: a field with several values is an
array, and a value that is not UTF-8 an array of its bytes as numbers.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct

from tailrace.parsing.sanitize import TOO_LONG

REALTIME = "__REALTIME_TIMESTAMP"  # us since the Unix epoch, as the journal received the entry
SOURCE_REALTIME = "_SOURCE_REALTIME_TIMESTAMP"  # as its sender had it
CURSOR = "__CURSOR"  # which no other entry of any journal has
MAX_BINARY_BYTES = 64 * 1024  # of a value that is not UTF-8: as numbers it takes many times its size
MAX_FIELDS = 1024  # of an entry, as systemd-journal-remote has it (ENTRY_FIELD_COUNT_MAX)
_MAX_US = (2**63 - 1) // 1000
_SIZE_BYTES = 8

Fields = dict[str, Any]


class JournalEntry(Struct, frozen=True):
    """An entry, or why there is none: `fault` is empty where there is one."""

    fields: Fields
    fault: str = ""
    is_last: bool = False  # whether nothing behind it can be read, as it is unknown where it ends


def entries(body: bytes) -> Iterator[JournalEntry]:
    """Yield the entries of a body, in time and memory in proportion to it."""
    at = 0
    while at < len(body):
        if body[at] == _NEWLINE:
            at += 1
            continue
        end = body.find(b"\n\n", at)
        fields = _text_fields(body[at : end if end >= 0 else len(body)].removesuffix(b"\n"))
        if fields is not None:
            at = end + 2 if end >= 0 else len(body)
            yield JournalEntry(fields) if "" not in fields else JournalEntry({}, _NO_NAME)
            continue
        entry, at = _entry(body, at)
        yield entry
        if entry.is_last:
            return


_NEWLINE = 0x0A
_NO_NAME = "a field has no name"


def _text_fields(text: bytes) -> Fields | None:
    """Return the fields of an entry of which each is a line of text, and has one value; None for any other."""
    if text.count(b"\n") >= MAX_FIELDS:
        return None
    try:
        parts = [line.partition("=") for line in text.decode().split("\n")]
    except UnicodeDecodeError:
        return None
    fields: Fields = {name: value for name, _, value in parts}
    return fields if len(fields) == len(parts) and all(equals for _, equals, _ in parts) else None


def _entry(body: bytes, at: int) -> tuple[JournalEntry, int]:
    """Return the entry that begins at a place, and where the next one may."""
    values: dict[str, list[Any]] = {}
    fault = ""
    count = 0
    while at < len(body) and body[at] != _NEWLINE:
        end = body.find(b"\n", at)
        end = end if end >= 0 else len(body)
        equals = body.find(b"=", at, end)
        if equals >= 0:
            name, value = body[at:equals], body[equals + 1 : end]
            at = end + 1
        else:
            name = body[at:end]
            start = end + 1 + _SIZE_BYTES
            stop = start + int.from_bytes(body[end + 1 : start], "little")
            if start > len(body) or stop > len(body) or body[stop : stop + 1] not in (b"\n", b""):
                shown = name[:40].decode("utf-8", "replace")
                reason = f"the field {shown!r} at byte {at} does not end where its length says: the rest is not read"
                return JournalEntry({}, reason, is_last=True), len(body)
            value = body[start:stop]
            at = stop + 1
        count += 1
        if count > MAX_FIELDS:
            fault = f"the entry has more than {MAX_FIELDS} fields"
            continue
        try:
            text = name.decode()
        except UnicodeDecodeError:
            text = ""
        fault = fault or ("" if text else _NO_NAME)
        values.setdefault(text, []).append(_value(value))
    if fault:
        return JournalEntry({}, fault), at + 1
    return JournalEntry({name: each[0] if len(each) == 1 else each for name, each in values.items()}), at + 1


def _value(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return list(value) if len(value) <= MAX_BINARY_BYTES else Raw(TOO_LONG)


def time_of(fields: Fields) -> int | None:
    """Return the time of an entry in ns, None where it has none; raise ValueError where it is no time."""
    for name in (REALTIME, SOURCE_REALTIME):
        sent = fields.get(name)
        if sent is not None:
            if not (isinstance(sent, str) and sent.isascii() and sent.isdigit() and len(sent) < 20):
                raise ValueError(f"{name} is not a number of microseconds")
            if int(sent) > _MAX_US:
                raise ValueError(f"{name} is past the year 2262")
            return int(sent) * 1000
    return None
