"""Output of the commands: tables, CSV, JSON, questions."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tailrace.cli.errors import USAGE, CommandError, reason_of

OFF_TERMINAL_WIDTH = 1_000_000

MAX_CELL_WIDTH = 40  # terminal columns of a cell, where a row is too wide
MIN_LIST_CELL_WIDTH = 20  # to which the columns of a list are narrowed, but its first, by which its items are called
GAP = "  "


class ListFormat(StrEnum):
    """The format of a list."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


FormatOption = Annotated[
    ListFormat | None,
    typer.Option(
        "--format", help="How to print; default: table. JSON is whole, as the API has it.", show_default=False
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask first; needed where nobody can be asked.")]


def print_list(
    head: Sequence[str], rows: Iterable[Sequence[object]], items: Sequence[object], form: ListFormat | None
) -> None:
    """Print a list: as a table or CSV of these rows, or the items themselves as JSON."""
    match form:
        case ListFormat.JSON:
            print_json(items)
        case ListFormat.NDJSON:
            for item in items:
                print(json.dumps(item, ensure_ascii=False))
        case ListFormat.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow([name.lower().replace(" ", "_") for name in head])
            writer.writerows(rows)
        case _:
            print_table(head, rows, whole=1, least=MIN_LIST_CELL_WIDTH)


def print_json(value: object) -> None:
    """Print a value as JSON for people and programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 event` and `2 events`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def confirm(yes: bool, question: str, otherwise: str) -> None:
    """Ask for confirmation of what cannot be undone; raise CommandError unless it is given.

    `otherwise` says what is not done, as `nothing was dropped: to drop web`; where nobody can be asked it goes on with
    how to say so.
    """
    if yes:
        return
    if not stdin_is_terminal():
        raise CommandError(f"{otherwise}, give --yes", USAGE)
    if not typer.confirm(question, err=True):
        raise CommandError(otherwise.partition(":")[0])


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int = 0, least: int = MAX_CELL_WIDTH
) -> None:
    """Print a plain table to standard output; off a terminal nothing is cut.

    On a terminal a row takes one line, and long values are cut when they have to be: to MAX_CELL_WIDTH, or as far as
    they have to down to `least`, but not in the first columns that are to be `whole`. A table that is too wide even
    then is printed with a line for each value, and a rule between rows.
    """
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        Console(highlight=False, emoji=False, width=OFF_TERMINAL_WIDTH).print(_table(head, map(_cells, rows)))
        return
    heads = [Text(printable(name)) for name in head]
    listed = [_cells(row) for row in rows]
    lines = [[_cut(text, console.width) for text in row] for row in (heads, *listed)]
    widths = [max(text.cell_len for text in column) for column in zip(*lines, strict=True)]
    for width in (console.width, *range(MAX_CELL_WIDTH, least - 1, -1)):
        needed = sum(widths[:whole]) + sum(min(each, width) for each in widths[whole:])
        if needed + len(GAP) * (len(widths) - 1) <= console.width:
            short = [[*row[:whole], *(_cut(text, width) for text in row[whole:])] for row in lines]
            console.print(_table([text.plain for text in short[0]], short[1:]), no_wrap=True)
            return
    heads = [_cut(text, MAX_CELL_WIDTH) for text in heads]
    room = max(text.cell_len for text in heads)
    for row in listed:
        console.rule(style="dim", characters="-")
        for name, text in zip(heads, row, strict=True):
            label = Text(name.plain + " " * (room - name.cell_len) + GAP, style="bold")
            console.print(_cut(Text.assemble(label, text), console.width), no_wrap=True)


def _table(head: Sequence[str], rows: Iterable[Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for name in head:
        table.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _cells(row: Sequence[object]) -> list[Text]:
    return [cell(value) for value in row]


def _cut(text: Text, width: int) -> Text:
    """Return the text on one line, with an ellipsis if it is longer than the width."""
    line = Text(text.plain.replace("\n", "\\n"), style=text.style, spans=[*text.spans])
    line.truncate(width, overflow="ellipsis")
    return line


def cell(value: object) -> Text:
    """Return a value for a table: text as it is, null dimmed, anything else as JSON."""
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, str):
        return Text(printable(value))
    style = "" if isinstance(value, (dict, list)) else "cyan"
    return Text(json.dumps(value, ensure_ascii=False), style=style)


def printable(text: str) -> str:
    """Return text with control characters escaped, so that an event cannot control the terminal."""
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text
    )


def stdin_is_terminal() -> bool:
    """Return whether a person can answer a question."""
    return sys.stdin.isatty()


def stdout_is_terminal() -> bool:
    """Return whether a person reads the output."""
    return sys.stdout.isatty()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside another one, which it replaces in the end; where something fails nothing is left of it.

    Raise CommandError where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {reason_of(error)}") from error
    finally:
        partial.unlink(missing_ok=True)
