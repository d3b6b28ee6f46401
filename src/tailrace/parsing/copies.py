"""Fields that events get from others of theirs, written as their first members."""

import re
from collections.abc import Sequence
from itertools import chain

import msgspec
from msgspec import Struct

from tailrace.parsing.fields import Column, Columns
from tailrace.parsing.times import Texts


class Copy(Struct, frozen=True):
    """A field that an event gets from another of its fields, where that is text."""

    source: str  # a top-level name
    target: str  # a path with dots; an event that has it, or its first part, keeps its own

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the fields that an event keeps in place of the copy."""
        return tuple(dict.fromkeys((self.target.partition(".")[0], self.target)))


def with_copies(ndjson: bytes, columns: Columns, names: Sequence[str], copies: Sequence[Copy], body: bytes) -> bytes:
    """Return the events of `body`, of which `columns` are the fields of these names, with the copies in them."""
    fields = dict(zip(names, columns, strict=True))
    made = [copy for copy in copies if _is_anywhere(fields[copy.source])]
    if not made:
        return ndjson
    copied = list(zip(*(_values(copy, fields, body) for copy in made), strict=True))
    prefixes = [msgspec.json.encode(copy.target) + b":" for copy in made]
    members = {values: b"".join(map(_member, prefixes, values)) for values in set(copied)}
    if len(members) == 1:
        # Each event begins with a brace, and no newline stands within one.
        return (b"\n" + ndjson[:-1]).replace(b"\n{", b"\n{" + members[copied[0]])[1:] + b"\n"
    rests = (b"\n" + ndjson[:-1]).split(b"\n{")[1:]
    opened, ended = (b"{",) * len(rests), (b"\n",) * len(rests)
    return b"".join(chain.from_iterable(zip(opened, map(members.__getitem__, copied), rests, ended, strict=True)))


def _values(copy: Copy, fields: dict[str, Column], body: bytes) -> Sequence[bytes]:
    """Return what is copied, an event each; nothing where the event has its own."""
    values = _each(fields[copy.source])
    if not _may_have(body, copy.own[0].encode()):
        return values
    owned = map(any, zip(*(_each(fields[name]) for name in copy.own), strict=True))
    return [b"" if is_owned else value for is_owned, value in zip(owned, values, strict=True)]


def _is_anywhere(column: Column) -> bool:
    return bool((column.ends > column.starts).any()) if isinstance(column, Texts) else any(column)


def _each(column: Column) -> list[bytes]:
    return column.all() if isinstance(column, Texts) else column


def _may_have(body: bytes, name: bytes) -> bool:
    """Whether names in the body may begin so, escapes in them included."""
    # One byte is found much faster than two.
    return (name[:1] in body and name in body) or (b"\\" in body and b"\\u" in body)


_TEXT = re.compile(rb'".+"', re.DOTALL)


def _member(prefix: bytes, value: bytes) -> bytes:
    """Return the member with its comma, as at least the one that the value is from follows; nothing unless it is
    text.
    """
    return prefix + value + b"," if _TEXT.fullmatch(value) else b""
