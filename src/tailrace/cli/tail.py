"""`tailrace tail`: the events of a dataset as they are acknowledged, until it is stopped."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from tailrace.cli.client import (
    CONNECT_TIMEOUT_S,
    RETRYABLE,
    ServerChoice,
    check,
    message_of,
    quoted,
    server_command,
    unreachable,
)
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import CommandError
from tailrace.cli.output import printable, stdout_is_terminal
from tailrace.cli.query import print_field_messages, with_caret

SILENCE_S = 90.0  # a server sends something more often than that, at least every 30 s
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 5.0
LEVELS = ("level", "severity")
MESSAGES = ("message", "msg", "body", "event")
STYLES = {"error": "red", "fatal": "red", "critical": "red", "warn": "yellow", "warning": "yellow", "debug": "dim"}
TIMES = ("_time", "_sysTime")


class TailFormat(StrEnum):
    """How an event is printed."""

    TEXT = "text"
    NDJSON = "ndjson"


class Sent(Struct, frozen=True):
    """A server-sent event; without a name it is an event of the dataset."""

    name: str
    data: str


class _Gone(Exception):
    """The stream is over and may be had again."""


@server_command
def tail(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    where: Annotated[
        str, typer.Option("--where", metavar="APL", help="Show only events that this condition in APL holds for.")
    ] = "",
    form: Annotated[
        TailFormat | None,
        typer.Option("--format", help="How events are printed: text on a terminal, else NDJSON.", show_default=False),
    ] = None,
    *,
    server: ServerChoice,
) -> None:
    """Show the events of a dataset as they arrive, until Ctrl-C. When the connection breaks it is made again.

    Examples:

      tailrace tail web

      tailrace tail web --where "level == 'error' and status >= 500"

      tailrace tail web --format ndjson | jq .message
    """
    text = (form or (TailFormat.TEXT if stdout_is_terminal() else TailFormat.NDJSON)) is TailFormat.TEXT
    console = Console(highlight=False, emoji=False, soft_wrap=True)

    def show(content: str) -> None:
        if text:
            console.print(line_of(json.loads(content)))
        else:
            print(content, flush=True)

    if where:
        with server.connect() as client:
            print_field_messages(client, f"['{dataset}'] | where {where}", {"startTime": "now-1h"})
    try:
        with with_caret(where):
            _follow(lambda: _stream(server, dataset, where), show)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # What reads along has seen enough; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _follow(
    stream: Callable[[], Iterator[Sent]],
    show: Callable[[str], None],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Show what comes, and begin anew whenever the stream ends; raise CommandError where that cannot help."""
    began = False
    wait_s = FIRST_WAIT_S
    while True:
        try:
            for sent in stream():
                if not sent.name:
                    show(sent.data)
                elif sent.name == "begun":
                    if began:
                        _note("connected again; what arrived meanwhile is not shown")
                    began, wait_s = True, FIRST_WAIT_S
                elif sent.name == "missed":
                    missed = json.loads(sent.data)
                    reason = f": {missed['reason']}" if missed.get("reason") else ", as they came too fast"
                    _note(f"{missed['count']} events were passed over{reason}")
                elif sent.name == "end":
                    raise _Gone(json.loads(sent.data).get("reason", "the server ended the stream"))
            raise _Gone("the stream ended")
        except _Gone as gone:
            if not began:
                raise CommandError(str(gone)) from gone
            if wait_s == FIRST_WAIT_S:
                _note(f"{gone}; connecting again")
            sleep(wait_s)
            wait_s = min(wait_s * 2, MAX_WAIT_S)


def _stream(server: ServerChoice, dataset: str, where: str) -> Iterator[Sent]:
    """Yield what one connection gives, `begun` first. Raise _Gone where trying again may help, CommandError else."""
    try:
        # Anew each time: a server that was restarted may have another address.
        connection = server.connect()
    except CommandError as error:
        raise _Gone(str(error)) from error
    path = f"/tailrace/v1/tail/{quoted(dataset)}"
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
    with connection as client:
        try:
            with client.stream("GET", path, params={"where": where} if where else {}, timeout=timeout) as answer:
                if answer.status_code in RETRYABLE:
                    answer.read()
                    raise _Gone(message_of(answer))
                if not answer.is_success:
                    answer.read()
                    check(client, answer)
                yield Sent("begun", "")
                yield from parsed(answer.iter_lines())
        except (httpx.TransportError, httpx.StreamError) as error:
            if isinstance(error, httpx.TransportError):
                raise _Gone(str(unreachable(client, error))) from error
            raise _Gone(str(error)) from error


def parsed(lines: Iterator[str]) -> Iterator[Sent]:
    """Yield the events in the lines of a stream of server-sent events, as this server writes them; comments are left
    out.
    """
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield Sent(name, line.removeprefix("data: "))
            name = ""


def line_of(event: dict[str, Any]) -> Text:
    """Return an event on one line for a person: its time, level and message where it has them, and the other fields."""
    rest = {name: value for name, value in event.items() if name not in TIMES}
    time_text = str(event.get("_time", "")).removesuffix("Z").replace("T", " ")[:23]
    level = _taken(rest, LEVELS)
    style = STYLES.get(level.lower(), "")
    parts = [Text(time_text, style="dim")]
    if level:
        parts.append(Text(f"{printable(level).upper():5}", style=style or "green"))
    message = _taken(rest, MESSAGES)
    if message:
        parts.append(Text(_one_line(message), style=style))
    for name, value in rest.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            parts.append(Text.assemble((f"{_one_line(name)}=", "cyan"), _one_line(text)))
    return Text(" ").join(parts)


def _taken(rest: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the text in the first of these fields that has one, which is then not shown again; else nothing."""
    for name in names:
        if isinstance(rest.get(name), str):
            return str(rest.pop(name))
    return ""


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")


def _note(text: str) -> None:
    print(f"tailrace: {text}", file=sys.stderr, flush=True)
