"""`tailrace query`: run a query and print its answer."""

import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer
from msgspec import Struct
from rich.console import Console

from tailrace.cli.chart import chart
from tailrace.cli.client import (
    DEFAULT_DATA,
    DataOption,
    TokenOption,
    UrlOption,
    check,
    connect,
    find_server,
    json_of,
    unreachable,
)
from tailrace.cli.output import print_table, printable, stdout_is_terminal

SQL_PATH = "/tailrace/v1/sql"
APL_PATH = "/v1/datasets/_apl"
SQL_WORDS = frozenset({"select", "with"})  # no APL query begins with these
NUMERIC = frozenset({"integer", "float"})
TOLD = frozenset({"warn", "error", "fatal"})  # priorities of messages
IMPLICIT_END = "apl_implicitendtimeofnowapplied_1"  # nobody at a terminal expects another end
ADDABLE = frozenset({"count", "countif", "sum", "sumif", "rate"})  # aggregates of which groups may be summed
NS_PER_US = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AnswerFormat(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"


MEDIA_TYPES = {
    AnswerFormat.TABLE: "application/json",
    AnswerFormat.JSON: "application/json",
    AnswerFormat.NDJSON: "application/x-ndjson",
    AnswerFormat.CSV: "text/csv",
    AnswerFormat.ARROW: "application/vnd.apache.arrow.stream",
}


class Question(Struct, frozen=True):
    """What is sent."""

    path: str
    params: dict[str, str]
    body: dict[str, str]


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
        str | None, typer.Option("--start", metavar="TIME", help="Events from then on: RFC 3339, or like now-1h.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="TIME", help="Events before then: RFC 3339, or like now-5m.")
    ] = None,
    form: Annotated[
        AnswerFormat | None,
        typer.Option("--format", help="How to print; default: table on a terminal, ndjson elsewhere."),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Run a query in APL, or in SQL, and print its answer.

    An answer by bins of time is drawn as a small bar chart too, on a terminal.
    """
    question = _question(apl, sql, start, end, context.args)
    terminal = stdout_is_terminal()
    form = form or (AnswerFormat.TABLE if terminal else AnswerFormat.NDJSON)
    if form is AnswerFormat.ARROW and terminal:
        raise typer.BadParameter("arrow is binary: send standard output to a file", param_hint="--format")
    with connect(find_server(url, token, data)) as client:
        headers = {"Accept": MEDIA_TYPES[form]}
        try:
            with client.stream(
                "POST", question.path, params=question.params, json=question.body, headers=headers
            ) as answer:
                if not answer.is_success or form is AnswerFormat.TABLE:
                    answer.read()
                    check(client, answer)
                    found = json_of(client, answer)
                    _print_apl(found) if sql is None else _print_sql(found)
                    return
                for part in answer.iter_bytes():
                    sys.stdout.buffer.write(part)
                if form is AnswerFormat.JSON:
                    sys.stdout.buffer.write(b"\n")
                sys.stdout.buffer.flush()
        except httpx.TransportError as error:
            raise unreachable(client, error) from error


def _question(apl: str | None, sql: str | None, start: str | None, end: str | None, more: list[str]) -> Question:
    if sql is not None:
        if apl is not None or more:
            raise typer.BadParameter("give the query in APL or by --sql, not both", param_hint="--sql")
        if start is not None or end is not None:
            raise typer.BadParameter("only for APL: in SQL, compare _time", param_hint="--start / --end")
        return Question(SQL_PATH, {}, {"sql": sql})
    if apl is None or more:
        raise typer.BadParameter(
            "give the query as one argument: tailrace query \"['demo'] | limit 10\"", param_hint="APL"
        )
    if apl.split(maxsplit=1)[:1] and apl.split(maxsplit=1)[0].lower() in SQL_WORDS:
        raise typer.BadParameter("this is SQL: give it by --sql", param_hint="APL")
    times = {"startTime": start, "endTime": end}
    body = {"apl": apl, **{name: time for name, time in times.items() if time is not None}}
    return Question(APL_PATH, {"format": "tabular", "totals": "false"}, body)


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
    for message in answer["status"]["messages"]:
        if message["priority"] in TOLD and message["code"] != IMPLICIT_END:
            print(f"{message['priority']}: {printable(message['msg'])}", file=sys.stderr)
    _print_count(len(rows), answer["status"]["elapsedTime"] / 1000)


def _print_count(rows: int, elapsed_ms: float) -> None:
    print(f"{rows} {'row' if rows == 1 else 'rows'} in {elapsed_ms:g} ms", file=sys.stderr)


def _chart(table: dict[str, Any], width: int) -> list[str]:
    """A chart of the first number that may be drawn, under its name; nothing where the answer is not by time."""
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
