"""`tailrace doctor`: what is wrong with a server and its data directory, and what to do about it."""

import os
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from tailrace.cli.client import (
    ServerChoice,
    json_of,
    message_of,
    server_command,
    unreachable,
)
from tailrace.cli.errors import FAILED, CommandError
from tailrace.cli.output import counted, printable
from tailrace.cli.serve import ConfigFile
from tailrace.config import ConfigError, load
from tailrace.server.layout import DEFAULT_DATA

if TYPE_CHECKING:
    from tailrace.server.doctor import Finding

MAX_CLOCK_DIFFERENCE_S = 30.0
TIMEOUT_S = 10.0
TOLD_REFUSALS = 5
NOT_TOLD = ("client_gone", "not_ready")  # readiness is told by itself
STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


@server_command
def doctor(
    config: ConfigFile = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file of the tables against the hash in its name.")
    ] = False,
    *,
    server: ServerChoice,
) -> None:
    """Look for what is wrong with a server, running or not, and say what to do. Changes nothing.

    With a URL it looks at that server alone, else at a data directory and at the server that runs on it.

    Looks at the settings, the version, the clock, the data directory, the disk, the log, the tables, the databases and
    the running server. The exit code is 1 when something is wrong.

    Examples:

      tailrace doctor --data /var/lib/tailrace

      TAILRACE_URL=https://events.example.com TAILRACE_TOKEN=xapt-… tailrace doctor
    """
    # Only here: it brings the server's engine along, which no other command needs.
    from tailrace.server.doctor import Finding

    if verify and server.url:
        raise typer.BadParameter(
            "it reads the files of a data directory: leave --url (TAILRACE_URL) out, on the server's machine",
            param_hint="--verify",
        )
    wrong = False
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    for finding in _found(Finding, server, config, verify=verify):
        wrong = wrong or finding.level == "wrong"
        line = Text.assemble(
            (f"{finding.level:8}", STYLES[finding.level]), f"{finding.subject}: {printable(finding.found)}"
        )
        console.print(line)
        if finding.advice:
            console.print(Text(f"        -> {printable(finding.advice)}"))
    if wrong:
        raise typer.Exit(FAILED)


def _found(finding: "type[Finding]", server: ServerChoice, config: Path | None, *, verify: bool) -> "Iterator[Finding]":
    from tailrace.server.doctor import examine, is_running
    from tailrace.server.settings import SCHEMA

    if server.url:
        yield from _remote(finding, server)
        return
    try:
        settings, origins = load(config, {"data": server.data}, os.environ, SCHEMA)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield finding("wrong", "settings", line, "correct it; docs/settings.md has every setting")
        settings, origins = SCHEMA.build({"data": server.data or DEFAULT_DATA}), {}
    else:
        given = [name for name, origin in origins.items() if origin != "default"]
        yield finding("ok", "settings", f"{len(given)} given, the others have their defaults")
    yield from examine(settings, verify=verify)
    if is_running(settings.server.data.absolute()):
        yield from _remote(finding, replace(server, data=settings.server.data))


def _remote(finding: "type[Finding]", server: ServerChoice) -> "Iterator[Finding]":
    """Yield what a running server says of itself."""
    try:
        target, connection = server.find(), server.connect()
    except CommandError as error:
        yield finding("wrong", "connection", str(error), "")
        return
    with connection as client:
        client.timeout = httpx.Timeout(TIMEOUT_S)
        try:
            yield from _asked(finding, client, target.url)
        except httpx.TransportError as error:
            advice = "check the address, the network, and whether the server runs"
            yield finding("wrong", "connection", str(unreachable(client, error)), advice)
        except CommandError as error:
            yield finding("wrong", "connection", str(error), "check the address")


def _asked(finding: "type[Finding]", client: httpx.Client, url: str) -> "Iterable[Finding]":
    began_s = time.time()
    alive = client.get("/healthz")
    took_s = time.time() - began_s
    if not alive.is_success or "x-axiom-trace-id" not in alive.headers:
        yield finding("wrong", "connection", f"{url} does not answer as a Tailrace server", "check the address")
        return
    yield finding("ok", "connection", f"{url} answers in {took_s * 1000:.0f} ms")
    yield from _clock_of(finding, alive, began_s + took_s / 2)
    ready = client.get("/readyz")
    if ready.is_success:
        degraded = json_of(client, ready).get("degraded", ())  # which an older server does not tell
        for each in degraded:
            yield finding("warning", "readiness", each, "docs/running.md says what each means")
        if not degraded:
            yield finding("ok", "readiness", "events are taken and committed, and queries answered")
    else:
        advice = "do away with the reason; docs/running.md says what each means"
        yield finding("wrong", "readiness", message_of(ready), advice)
    yield from _refusals(finding, client)
    user = client.get("/v2/user")
    if user.status_code == httpx.codes.UNAUTHORIZED:
        yield finding("wrong", "token", message_of(user), "give a valid one by --token (TAILRACE_TOKEN)")
    elif user.is_success:
        yield finding("ok", "token", f"is {json_of(client, user).get('name') or 'an API token'}'s")
    else:
        yield finding("ok", "token", "is an API token")


def _refusals(finding: "type[Finding]", client: httpx.Client) -> "Iterator[Finding]":
    """Yield what the server refused of late, where the token may know."""
    answer = client.get("/tailrace/v1/refusals", params={"limit": 1000})
    if not answer.is_success:  # by the token, of which more is said elsewhere, or of an older version
        return
    refusals = [each for each in json_of(client, answer) if each["reason"] not in NOT_TOLD]
    for each in refusals[:TOLD_REFUSALS]:
        events = f" of {counted(each['events'], 'event')}" if each["events"] else ""
        times = counted(each["count"], "time")
        found = (
            f"{each['method']} {each['path']} {each['status']} {each['reason']}{events}, {times}, "
            f"last {each['time'][:19]}Z, from {each['address']} ({each['userAgent'] or 'no user agent'})"
        )
        yield finding("warning", "refused", f"{found}: {each['message']}" if each["message"] else found)
    if len(refusals) > TOLD_REFUSALS:
        more = f"{counted(len(refusals) - TOLD_REFUSALS, 'more sort')} of requests"
        yield finding("warning", "refused", more, "GET /tailrace/v1/refusals lists them; docs/running.md")


def _clock_of(finding: "type[Finding]", answer: httpx.Response, asked_s: float) -> "Iterator[Finding]":
    """Yield the server's clock against this machine's, where its answer has a date."""
    try:
        there_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return
    difference_s = there_s - asked_s
    if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
        found = f"the server's is {abs(difference_s):.0f} s {'ahead' if difference_s > 0 else 'behind'}"
        yield finding("wrong", "clock", found, "set the clock that is wrong, or let NTP do it")
    else:
        yield finding("ok", "clock", "the server's and this machine's agree")
