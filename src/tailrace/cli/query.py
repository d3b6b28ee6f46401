"""`tailrace query`: run a query and print its answer."""

import sys
from enum import StrEnum
from typing import Annotated

import httpx
import typer

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
from tailrace.cli.output import print_table, stdout_is_terminal

SQL_PATH = "/tailrace/v1/sql"


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


def query(
    context: typer.Context,
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="QUERY", help="SQL; datasets are its tables. Required.", show_default=False),
    ] = None,
    form: Annotated[
        AnswerFormat | None,
        typer.Option("--format", help="How to print; default: table on a terminal, ndjson elsewhere."),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Run a query and print its answer."""
    if sql is None or context.args:
        raise typer.BadParameter("give the query by it: tailrace query --sql 'SELECT 1'", param_hint="--sql")
    terminal = stdout_is_terminal()
    form = form or (AnswerFormat.TABLE if terminal else AnswerFormat.NDJSON)
    if form is AnswerFormat.ARROW and terminal:
        raise typer.BadParameter("arrow is binary: send standard output to a file", param_hint="--format")
    with connect(find_server(url, token, data)) as client:
        try:
            with client.stream("POST", SQL_PATH, json={"sql": sql}, headers={"Accept": MEDIA_TYPES[form]}) as answer:
                if not answer.is_success or form is AnswerFormat.TABLE:
                    answer.read()
                    check(client, answer)
                    _print(json_of(client, answer))
                    return
                for part in answer.iter_bytes():
                    sys.stdout.buffer.write(part)
                if form is AnswerFormat.JSON:
                    sys.stdout.buffer.write(b"\n")
                sys.stdout.buffer.flush()
        except httpx.TransportError as error:
            raise unreachable(client, error) from error


def _print(answer: dict[str, object]) -> None:
    fields, rows = answer["fields"], answer["rows"]
    assert isinstance(fields, list)
    assert isinstance(rows, list)
    names = [field["name"] for field in fields]
    print_table(names, ([row.get(name) for name in names] for row in rows))
    noun = "row" if len(rows) == 1 else "rows"
    print(f"{len(rows)} {noun} in {answer['elapsedMs']} ms", file=sys.stderr)
