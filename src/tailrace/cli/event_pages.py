"""All events of a dataset, page by page in the order of their times, off any server that answers APL as Axiom does."""

from collections.abc import Iterator, Mapping

import httpx
import msgspec
from msgspec import Raw, Struct

from tailrace.cli.client import refused, send_with_retries, unreachable
from tailrace.cli.errors import CommandError

PATH = "/v1/datasets/_apl"
PAGE_EVENTS = 10_000  # as many as an ingest request may have at Axiom
MIN_PAGE_EVENTS = 1
MAX_PAGE_BYTES = 16 * 1024 * 1024
TOO_MUCH = frozenset({413, 422})  # statuses of a page that has more than a server answers at once
MEMBERS_OF_SERVER = frozenset({"_sysTime", "_cursor", "_rowId", "_rowID", "_blockInfo", "_source"})
NULL = b"null"


class EventPage(Struct, frozen=True):
    """Some events, each a line of NDJSON, and where the next ones are."""

    lines: list[bytes]
    cursor: str


class _Field(Struct):
    name: str


class _Table(Struct):
    fields: list[_Field]
    columns: list[list[Raw]] = []


class _Status(Struct, rename="camel"):
    is_partial: bool = False
    min_cursor: str = ""
    max_cursor: str = ""


class _Answer(Struct):
    tables: list[_Table]
    status: _Status


def event_pages(
    client: httpx.Client,
    dataset: str,
    start: str,
    end: str,
    *,
    cursor: str = "",
    leave: frozenset[str] = frozenset(),
    max_bytes: int = MAX_PAGE_BYTES,
) -> Iterator[EventPage]:
    """Yield the events from a time until before another one, RFC 3339, or those after a cursor; each once.

    Numbers have the digits that the server writes. A member that is null, or in `leave`, is left out. A page that is
    too much for the server, or has more than `max_bytes`, is asked for in smaller parts. Raise CommandError.
    """
    most = PAGE_EVENTS
    while True:
        body = {
            "apl": f"['{dataset}'] | order by _time asc | limit {most}",
            "startTime": start,
            "endTime": end,
            **({"cursor": cursor} if cursor else {}),
        }
        answer = _asked(client, body)
        if answer.status_code in TOO_MUCH and most > MIN_PAGE_EVENTS:
            most = max(most // 4, MIN_PAGE_EVENTS)
            continue
        read = _read(client, answer)
        lines = _lines(read.tables[0], leave) if read.tables else []
        following = read.status.max_cursor
        if cursor and read.status.min_cursor == cursor:
            del lines[:1]  # a server may begin a page with the event that the last one ended with
        # Axiom ends with the last page again, whose cursor is the one that was given.
        if not lines or (cursor and following == cursor):
            return
        size = sum(map(len, lines))
        if size > max_bytes and len(lines) > 1:
            most = max(len(lines) * max_bytes // size * 3 // 4, MIN_PAGE_EVENTS)
            continue
        if not following:
            raise CommandError(f"{client.base_url} answers without a cursor: its pages cannot be told apart")
        cursor = following
        yield EventPage(lines, cursor)


def day_counts(client: httpx.Client, dataset: str, start: str, end: str) -> dict[str, int]:
    """Return the number of events of each day, as `2026-05-28` in UTC, that has any, in order. Raise CommandError."""
    body = {
        "apl": f"['{dataset}'] | summarize n = count() by day = bin(_time, 1d) | order by day asc",
        "startTime": start,
        "endTime": end,
    }
    answer = _asked(client, body)
    found = _read(client, answer)
    if not found.tables:
        return {}
    table = found.tables[0]
    columns = dict(zip((field.name for field in table.fields), table.columns, strict=False))
    days, counts = columns.get("day", []), columns.get("n", [])
    return {
        msgspec.json.decode(day, type=str)[:10]: msgspec.json.decode(count, type=int)
        for day, count in zip(days, counts, strict=True)
        if day != NULL
    }


def _asked(client: httpx.Client, body: Mapping[str, object]) -> httpx.Response:
    params = {"format": "tabular", "totals": "false"}
    try:
        return send_with_retries(lambda: client.post(PATH, params=params, json=body))
    except httpx.TransportError as error:
        raise unreachable(client, error) from error


def _read(client: httpx.Client, answer: httpx.Response) -> _Answer:
    """Return what a server answers. Raise CommandError where it refuses, or does not answer in full."""
    if not answer.is_success:
        raise refused(client, answer)
    try:
        read = msgspec.json.decode(answer.content, type=_Answer)
    except msgspec.MsgspecError as error:
        raise CommandError(f"{client.base_url} does not answer a query as Axiom does: {error}") from error
    if read.status.is_partial:
        raise CommandError(f"{client.base_url} answered with a part of the events only: run it again, or ask for less")
    return read


def _lines(table: _Table, leave: frozenset[str]) -> list[bytes]:
    """Return the rows of a table as objects, their values as they came."""
    kept = [
        (msgspec.json.encode(field.name) + b":", column)
        for field, column in zip(table.fields, table.columns, strict=True)
        if field.name not in leave
    ]
    names = [name for name, _ in kept]
    lines = []
    for values in zip(*(column for _, column in kept), strict=True):
        members = [name + bytes(value) for name, value in zip(names, values, strict=True) if value != NULL]
        lines.append(b"{" + b",".join(members) + b"}\n")
    return lines
