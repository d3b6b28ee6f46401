"""`tailrace query`: run a query and print its answer."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from msgspec import Struct
from rich.console import Console

from tailrace.cli.chart import chart
from tailrace.cli.client import (
    ServerChoice,
    call,
    check,
    json_of,
    server_command,
    unreachable,
)
from tailrace.cli.errors import CommandError, options
from tailrace.cli.output import counted, print_table, printable, stdout_is_terminal, whole_file
from tailrace.cli.transfer import transfer_progress

SQL_PATH = "/tailrace/v1/sql"
APL_PATH = "/v1/datasets/_apl"
SQL_WORDS = frozenset({"select", "with"})  # no APL query begins with these
NUMERIC = frozenset({"integer", "float"})
PRINTED_PRIORITIES = frozenset({"warn", "error", "fatal"})  # of messages
MESSAGES_HEADER = "X-Tailrace-Messages"  # JSON, beside formats that have no place for messages
IMPLICIT_END = "apl_implicitendtimeofnowapplied_1"  # nobody at a terminal expects another end
ADDABLE = frozenset({"count", "countif", "sum", "sumif", "rate"})  # aggregates of which groups may be summed
NS_PER_US = 1_000
OPTIONS = {"startTime": "--start", "endTime": "--end"}  # by the member of a body that they become
CARET_CONTEXT = 60  # characters of a line shown on each side of an error's place
_PLACE = re.compile(r"\bline (\d+), column (\d+)")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AnswerFormat(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


MEDIA_TYPES = {
    AnswerFormat.TABLE: "application/json",
    AnswerFormat.JSON: "application/json",
    AnswerFormat.NDJSON: "application/x-ndjson",
    AnswerFormat.CSV: "text/csv",
    AnswerFormat.ARROW: "application/vnd.apache.arrow.stream",
    AnswerFormat.PARQUET: "application/vnd.apache.parquet",
}
BINARY = (AnswerFormat.ARROW, AnswerFormat.PARQUET)
SUFFIXES = {".jsonl": AnswerFormat.NDJSON, ".arrows": AnswerFormat.ARROW}  # beside those that are a format's name


class QueryRequest(Struct, frozen=True):
    """The request for a query."""

    path: str
    params: dict[str, str]
    body: dict[str, str]


@server_command
def query(
    context: typer.Context,
    apl: Annotated[
        str | None, typer.Argument(metavar="APL", help="The query, such as \"['demo'] | summarize count() by level\".")
    ] = None,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql", metavar="QUERY", help="SQL in place of APL; datasets are its tables.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="Events from then on: RFC 3339, or like -1h.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="TIME", help="Events before then: RFC 3339, or like -5m.")
    ] = None,
    form: Annotated[
        AnswerFormat | None,
        typer.Option(
            "--format", help="How to print; default: by the name of FILE, else table on a terminal, ndjson elsewhere."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file, which is whole or not there."),
    ] = None,
    *,
    server: ServerChoice,
) -> None:
    """Run a query in APL, or in SQL, and print its answer.

    An answer by bins of time is drawn as a small bar chart too, on a terminal.
    """
    request = _query_request(apl, sql, start, end, context.args)
    terminal = stdout_is_terminal()
    if output is not None:
        _write(request, form or _format_of(output), output, server)
        return
    form = form or (AnswerFormat.TABLE if terminal else AnswerFormat.NDJSON)
    if form in BINARY and terminal:
        raise typer.BadParameter(f"{form} is binary: give --output FILE", param_hint="--format")
    _print(request, form, server)


def _print(request: QueryRequest, form: AnswerFormat, server: ServerChoice) -> None:
    """Print an answer."""
    with server.connect() as client, with_caret(request.body.get("apl") or request.body.get("sql", "")):
        headers = {"Accept": MEDIA_TYPES[form]}
        try:
            with client.stream(
                "POST", request.path, params=request.params, json=request.body, headers=headers
            ) as answer:
                if not answer.is_success or form is AnswerFormat.TABLE:
                    answer.read()
                    check(client, answer)
                    result = json_of(client, answer)
                    _print_sql(result) if request.path == SQL_PATH else _print_apl(result)
                    return
                if form is AnswerFormat.JSON:
                    content = answer.read()
                    sys.stdout.buffer.write(content)
                    _print_messages(_messages(json.loads(content)))
                else:
                    for part in answer.iter_bytes():
                        sys.stdout.buffer.write(part)
                    _print_messages(json.loads(answer.headers.get(MESSAGES_HEADER, "[]")))
                if form is AnswerFormat.JSON:
                    sys.stdout.buffer.write(b"\n")
                sys.stdout.buffer.flush()
        except httpx.TransportError as error:
            raise unreachable(client, error) from error


def _format_of(output: Path) -> AnswerFormat:
    """Return the format that a file's name tells."""
    suffix = output.suffix.lower()
    named = {f".{form}": form for form in AnswerFormat if form is not AnswerFormat.TABLE} | SUFFIXES
    if suffix not in named:
        raise typer.BadParameter(f"the name of {output} does not tell its format: give --format", param_hint="--output")
    return named[suffix]


def _write(request: QueryRequest, form: AnswerFormat, output: Path, server: ServerChoice) -> None:
    """Write an answer to a file, as it comes."""
    if form is AnswerFormat.TABLE:
        raise typer.BadParameter("a table is for people: a file takes any other format", param_hint="--format")
    headers = {"Accept": MEDIA_TYPES[form]}
    with server.connect() as client, with_caret(request.body.get("apl") or request.body.get("sql", "")):
        try:
            with client.stream(
                "POST", request.path, params=request.params, json=request.body, headers=headers
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    check(client, answer)
                with transfer_progress() as progress, whole_file(output) as file:
                    progress.expect(1, 0)
                    for part in answer.iter_bytes():
                        file.write(part)
                        progress.advance(len(part))
                _print_messages(json.loads(answer.headers.get(MESSAGES_HEADER, "[]")))
        except httpx.TransportError as error:
            raise unreachable(client, error) from error


@contextmanager
def with_caret(text: str) -> Iterator[None]:
    """Add to an error that names a place in the query that line of it, with a caret beneath the place."""
    try:
        with options(OPTIONS):
            yield
    except CommandError as error:
        message = str(error)
        raise CommandError(message + caret(message, text), error.exit_code) from error


def caret(message: str, text: str) -> str:
    """Return the line of a query that an error message names and a caret beneath its column; "" if it names none."""
    place = _PLACE.search(message)
    lines = text.split("\n")
    if place is None or int(place[1]) > len(lines):
        return ""
    line, column = printable(lines[int(place[1]) - 1]), int(place[2])
    begin = max(column - CARET_CONTEXT, 0)
    shown = line[begin : column + CARET_CONTEXT].replace("\t", " ")
    return f"\n  {shown}\n  {' ' * (column - 1 - begin)}^"


def _query_request(
    apl: str | None, sql: str | None, start: str | None, end: str | None, more: list[str]
) -> QueryRequest:
    if sql is not None:
        if apl is not None or more:
            raise typer.BadParameter("give the query in APL or by --sql, not both", param_hint="--sql")
        if start is not None or end is not None:
            raise typer.BadParameter("only for APL: in SQL, compare _time", param_hint="--start / --end")
        return QueryRequest(SQL_PATH, {}, {"sql": sql})
    if apl is None or more:
        raise typer.BadParameter(
            "give the query as one argument: tailrace query \"['demo'] | limit 10\"", param_hint="APL"
        )
    if apl.split(maxsplit=1)[:1] and apl.split(maxsplit=1)[0].lower() in SQL_WORDS:
        raise typer.BadParameter("this is SQL: give it by --sql", param_hint="APL")
    return QueryRequest(APL_PATH, {"format": "tabular", "totals": "false"}, {"apl": apl, **time_range(start, end)})


def time_range(start: str | None, end: str | None) -> dict[str, str]:
    """Return the members of a body for the range of time of these options; none for an option that is not given."""
    times = {"startTime": start, "endTime": end}
    return {name: _since_now(time) for name, time in times.items() if time is not None}


def _since_now(time: str) -> str:
    """Return a time as the server reads it: `-1h` as `now-1h`."""
    return f"now{time}" if re.match(r"[-+]\d", time) else time


def _print_sql(answer: dict[str, Any]) -> None:
    names = [field["name"] for field in answer["fields"]]
    print_table(names, ([row.get(name) for name in names] for row in answer["rows"]))
    _print_count(len(answer["rows"]), answer["elapsedMs"])


def _print_apl(answer: dict[str, Any]) -> None:
    table = answer["tables"][0]
    names = [field["name"] for field in table["fields"]]
    rows = list(zip(*table.get("columns", []), strict=True))
    print_table(names, rows)
    console = Console(highlight=False, emoji=False)
    if console.is_terminal:
        for line in _chart(table, console.width):
            print(line)
    _print_messages(_messages(answer))
    _print_count(len(rows), answer["status"]["elapsedTime"] / 1000)


def print_field_messages(client: httpx.Client, apl: str, times: Mapping[str, str]) -> None:
    """Print the server's messages on a query's fields, such as that no event has one, before its other use.

    Print nothing where the query cannot be run: the other use reports why.
    """
    body = {"apl": f"{apl}\n| take 1", **times}
    try:
        _print_messages(_messages(call(client, "POST", f"{APL_PATH}?format=tabular", body)))
    except CommandError:
        return


def _messages(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of an answer in JSON; SQL has none."""
    messages: list[dict[str, Any]] = answer.get("status", {}).get("messages", [])
    return messages


def _print_messages(messages: list[dict[str, Any]]) -> None:
    """Print the server's messages on an answer to standard error, in every format."""
    sys.stdout.flush()
    for message in messages:
        if message["priority"] in PRINTED_PRIORITIES and message["code"] != IMPLICIT_END:
            print(f"tailrace: {message['priority']}: {printable(message['msg'])}", file=sys.stderr)


def _print_count(rows: int, elapsed_ms: float) -> None:
    print(f"{counted(rows, 'row')} in {elapsed_ms:g} ms", file=sys.stderr)


def _chart(table: dict[str, Any], width: int) -> list[str]:
    """Return the lines of a chart of the first aggregate that can be drawn; none where the answer is not by time."""
    buckets = table.get("buckets")
    groups = {group["name"] for group in table["groups"]}
    names = [field["name"] for field in table["fields"]]
    if not buckets or buckets["field"] not in groups or buckets["field"] not in names:
        return []
    times = table["columns"][names.index(buckets["field"])]
    for field, values in zip(table["fields"], table["columns"], strict=True):
        aggregate = field.get("agg")
        if aggregate is None or field["type"] not in NUMERIC:
            continue
        if len(groups) > 1 and aggregate["name"] not in ADDABLE:
            continue
        pairs = [(_ns(time), float(value or 0)) for time, value in zip(times, values, strict=True) if time is not None]
        lines = chart(pairs, int(buckets["size"]), width)
        if lines:
            label = printable(field["name"])
            return ["", f"{label} by {printable(buckets['field'])}, {min(times)} to {max(times)}", *lines]
    return []


def _ns(time: str) -> int:
    return round((datetime.fromisoformat(time) - EPOCH) / timedelta(microseconds=1)) * NS_PER_US
