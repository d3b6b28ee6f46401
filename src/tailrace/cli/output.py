"""How the commands print."""

import json
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a plain table to standard output; off a terminal its lines are not cut to a width."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1_000_000)
    console.print(table)


def cell(value: object) -> Text:
    """Return a value for a table: text as it is, null dimmed, anything else as JSON."""
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, str):
        return Text(printable(value))
    style = "" if isinstance(value, (dict, list)) else "cyan"
    return Text(json.dumps(value, ensure_ascii=False), style=style)


def printable(text: str) -> str:
    """Return text with control characters escaped, so that an event cannot steer the terminal."""
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text
    )


def stdin_is_terminal() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty()


def stdout_is_terminal() -> bool:
    """Return whether a person reads along."""
    return sys.stdout.isatty()
