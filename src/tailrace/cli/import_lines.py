"""Exports of other systems as events: a line of NDJSON each."""

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import Raw, Struct

from tailrace.cli.event_pages import MEMBERS_OF_SERVER

Convert = Callable[[bytes], bytes | None]  # None for a line that is no event

_ACTIONS = (b'{"index":', b'{"create":', b'{"update":', b'{"delete":')  # the lines between the documents of a bulk body


class _Hit(Struct):
    """A document as elasticdump and searches write it."""

    source: Raw = msgspec.field(name="_source")


class _LokiLine(Struct):
    """A line as `logcli query --output jsonl` writes it."""

    line: Raw
    timestamp: Raw
    labels: dict[str, Raw] = {}


def elastic(line: bytes) -> bytes | None:
    """Return the document of a line: a hit of a search, one of elasticdump, of a bulk body, or the document itself."""
    if line.replace(b" ", b"").startswith(_ACTIONS):
        return None
    try:
        return bytes(msgspec.json.decode(line, type=_Hit).source) + b"\n"
    except msgspec.ValidationError:
        return line
    except msgspec.DecodeError:
        return line  # which the server refuses with its reason


def loki(line: bytes) -> bytes | None:
    """Return a line of a log with its labels beside it, as Loki's push API stores it; anything else as it is."""
    try:
        read = msgspec.json.decode(line, type=_LokiLine)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return line
    members = {name: value for name, value in read.labels.items() if name not in ("_time", "message")}
    return msgspec.json.encode({"_time": read.timestamp, "message": read.line, **members}) + b"\n"


def own(line: bytes) -> bytes | None:
    """Return an event that a Tailrace server exported, without what a server adds to each."""
    try:
        read = msgspec.json.decode(line, type=dict[str, Raw])
    except (msgspec.ValidationError, msgspec.DecodeError):
        return line
    if not read.keys() & MEMBERS_OF_SERVER:
        return line
    return msgspec.json.encode({name: value for name, value in read.items() if name not in MEMBERS_OF_SERVER}) + b"\n"


def converted(chunks: Iterable[bytes], convert: Convert) -> Iterator[bytes]:
    """Yield the lines of chunks, each as a converter makes it."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        out = b"".join(made for line in lines if line.strip() and (made := convert(line + b"\n")) is not None)
        if out:
            yield out
    if rest.strip() and (made := convert(rest + b"\n")) is not None:
        yield made
