"""All events of a dataset, page by page in the order of their times, off any server that answers APL as Axiom does."""

from collections.abc import Generator, Iterator, Mapping

import httpx
import msgspec
from msgspec import Raw, Struct

from tailrace.cli.client import refused, send_with_retries, unreachable
from tailrace.cli.errors import CommandError
from tailrace.cli.times import rfc3339_ns, shown_ns

PATH = "/v1/datasets/_apl"
PAGE_EVENTS = 10_000  # as many as an ingest request may have at Axiom
MIN_PAGE_EVENTS = 1
MAX_PAGE_BYTES = 16 * 1024 * 1024
MAX_MOMENT_EVENTS = 50_000  # of one time: as many as Axiom answers at once
TOO_MUCH = frozenset({413, 422})  # statuses of a page that has more than a server answers at once
MEMBERS_OF_SERVER = frozenset({"_sysTime", "_cursor", "_rowId", "_rowID", "_blockInfo", "_source"})
NULL = b"null"
_TABULAR = {"format": "tabular"}
_OURS = {**_TABULAR, "totals": "false"}  # of a Tailrace


class EventPage(Struct, frozen=True):
    """Some events, each a line of NDJSON, and where the next ones are."""

    lines: list[bytes]
    cursor: str


class _Field(Struct):
    name: str


class _Table(Struct):
    fields: list[_Field]
    columns: list[list[Raw]]


class _SentTable(Struct):
    fields: list[_Field] | None = None  # of no rows, as Go writes empty lists
    columns: list[list[Raw]] | None = None


class _Status(Struct, rename="camel"):
    is_partial: bool = False
    rows_matched: int = 0
    min_cursor: str = ""
    max_cursor: str = ""


class _Answer(Struct):
    tables: list[_Table]
    status: _Status


class _SentAnswer(Struct):
    status: _Status
    tables: list[_SentTable] | None = None


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
        body = {**_body(dataset, start, end, most), **({"cursor": cursor} if cursor else {})}
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
        most = _grown(most, size, max_bytes)
        yield EventPage(lines, cursor)


def _grown(most: int, size: int, max_bytes: int) -> int:
    """Return how many events to ask for behind a page: more again, once what made the pages small has passed."""
    return min(most * 2, PAGE_EVENTS) if size * 4 < max_bytes else most


def time_pages(
    client: httpx.Client,
    dataset: str,
    start: str,
    end: str,
    *,
    cursor: str = "",
    leave: frozenset[str] = frozenset(),
    max_bytes: int = MAX_PAGE_BYTES,
) -> Iterator[EventPage]:
    """Yield the events from a time until before another one, as `event_pages`, but by their times alone.

    Axiom recommends that; its cursors are a preview. The events of the last time of a page are left to the next one,
    as more of them may follow. Those of a page that has but one time are asked for by themselves. A cursor is the time
    from which on events are not taken, and behind # how many of it are. Raise CommandError.
    """
    at, _, taken = (cursor or start).partition("#")
    if taken:
        at = yield from _moment_pages(client, dataset, at, leave, max_bytes, taken=int(taken))
    most = PAGE_EVENTS
    while rfc3339_ns(at) < rfc3339_ns(end):
        answer = _asked(client, _body(dataset, at, end, most), _TABULAR)
        if answer.status_code in TOO_MUCH and most > MIN_PAGE_EVENTS:
            most = max(most // 4, MIN_PAGE_EVENTS)
            continue
        table = _events(_read(client, answer))
        if table is None:
            return
        lines, times = _lines(table, leave), _times(client, table)
        if rfc3339_ns(times[0]) < rfc3339_ns(at):
            raise CommandError(
                f"{client.base_url} answers with an event of {times[0]}, but was asked for those from {at}"
            )
        if times[0] == times[-1]:
            at = yield from _moment_pages(client, dataset, times[0], leave, max_bytes)
            most = min(most * 2, PAGE_EVENTS)
            continue
        del lines[times.index(times[-1]) :]
        size = sum(map(len, lines))
        if size > max_bytes and len(lines) > 1 and most > MIN_PAGE_EVENTS + 1:
            most = max(len(lines) * max_bytes // size * 3 // 4, MIN_PAGE_EVENTS + 1)
            continue
        at = times[-1]
        most = _grown(most, size, max_bytes)
        yield EventPage(lines, at)


def _moment_pages(
    client: httpx.Client, dataset: str, at: str, leave: frozenset[str], max_bytes: int, taken: int = 0
) -> Generator[EventPage, None, str]:
    """Yield the events of one time but those that were taken, in an order that is always the same, also where the
    server has another order of the fields meanwhile; return the next time. Raise CommandError.
    """
    following = shown_ns(rfc3339_ns(at) + 1)
    answer = _asked(client, _body(dataset, at, following, MAX_MOMENT_EVENTS), _TABULAR)
    read = _read(client, answer)
    table = _events(read)
    if table is None:
        if not taken:
            raise CommandError(f"{client.base_url} has no events at {at}, but answered with one before")
        return following
    if any(rfc3339_ns(time) != rfc3339_ns(at) for time in set(_times(client, table))):
        raise CommandError(f"{client.base_url} answers with events of other times, but was asked for those at {at}")
    lines = sorted(_lines(_by_name(table), leave))
    if len(lines) >= MAX_MOMENT_EVENTS or read.status.rows_matched > len(lines):
        raise CommandError(f"{client.base_url} has more events at {at} than the {len(lines)} that it answers at once")
    while taken < len(lines):
        size = count = 0
        for line in lines[taken : taken + PAGE_EVENTS]:
            size += len(line)
            if count and size > max_bytes:
                break
            count += 1
        page, taken = lines[taken : taken + count], taken + count
        yield EventPage(page, f"{at}#{taken}" if taken < len(lines) else following)
    return following


def _by_name(table: _Table) -> _Table:
    columns = sorted(zip(table.fields, table.columns, strict=True), key=lambda pair: pair[0].name)
    return _Table([field for field, _ in columns], [column for _, column in columns])


def _body(dataset: str, start: str, end: str, most: int) -> dict[str, object]:
    return {"apl": f"['{dataset}'] | sort by _time asc | limit {most}", "startTime": start, "endTime": end}


def _events(read: _Answer) -> _Table | None:
    """Return the table of an answer, None where it has no rows."""
    table = read.tables[0] if read.tables else None
    return table if table is not None and table.columns and table.columns[0] else None


def _times(client: httpx.Client, table: _Table) -> list[str]:
    """Return the times of the rows. Raise CommandError."""
    columns = {field.name: column for field, column in zip(table.fields, table.columns, strict=True)}
    try:
        times = [msgspec.json.decode(value, type=str) for value in columns["_time"]]
        rfc3339_ns(times[0])
        rfc3339_ns(times[-1])
    except (KeyError, ValueError) as error:
        raise CommandError(f"{client.base_url} does not answer with the times of events: {error}") from error
    return times


def event_count(client: httpx.Client, dataset: str, start: str, end: str) -> int:
    """Return how many events there are from a time until before another one. Raise CommandError."""
    body = {"apl": f"['{dataset}'] | summarize n = count()", "startTime": start, "endTime": end}
    table = _events(_read(client, _asked(client, body, _TABULAR)))
    return 0 if table is None else msgspec.json.decode(table.columns[0][0], type=int)


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
        if bytes(day) != NULL
    }


def _asked(client: httpx.Client, body: Mapping[str, object], params: Mapping[str, str] = _OURS) -> httpx.Response:
    try:
        return send_with_retries(lambda: client.post(PATH, params=params, json=body))
    except httpx.TransportError as error:
        raise unreachable(client, error) from error


def _read(client: httpx.Client, answer: httpx.Response) -> _Answer:
    """Return what a server answers. Raise CommandError where it refuses, or does not answer in full."""
    if not answer.is_success:
        raise refused(client, answer)
    try:
        sent = msgspec.json.decode(answer.content, type=_SentAnswer)
    except msgspec.MsgspecError as error:
        raise CommandError(f"{client.base_url} does not answer a query as Axiom does: {error}") from error
    tables = [_Table(each.fields or [], each.columns) for each in sent.tables or () if each.columns]
    read = _Answer(tables, sent.status)
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
        members = [name + value for name, value in zip(names, map(bytes, values), strict=True) if value != NULL]
        lines.append(b"{" + b",".join(members) + b"}\n")
    return lines
