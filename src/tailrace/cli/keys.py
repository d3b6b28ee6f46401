"""`tailrace key`: make, list and revoke keys of the protocols beside Axiom's."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from tailrace.cli.client import ServerChoice, call, quoted, server_command
from tailrace.cli.errors import CommandError, NotFoundError, options
from tailrace.cli.output import FormatOption, YesOption, confirm, print_list
from tailrace.cli.tokens import parse_expiry

app = typer.Typer(help="Make, list and revoke keys for Baselime, Datamix and Moesif clients.", no_args_is_help=True)

KEYS = "/tailrace/v1/keys"
FROM_INPUT = "-"
SHELL_SPECIAL = frozenset('"$`\\!')  # within double quotes


class KeyFor(StrEnum):
    """Whose clients a key is for."""

    baselime = "baselime"
    datamix = "datamix"
    moesif = "moesif"


@app.command()
@server_command
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    protocol: Annotated[
        KeyFor | None, typer.Option("--protocol", show_default=False, help="Whose clients it is for.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="DATASET",
            help="Where its events may go: of a Moesif key one, of a Baselime key several (repeatable) or * for every "
            "one. Made where it is missing.",
        ),
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option(
            "--destination", metavar="SYSTEM.APPLICATION.ENVIRONMENT", help="Where the events of a Datamix key go."
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="End: a time, as 2030-01-31, or from now: 90d, 12h.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="A key that the clients have already; - reads it from the input."),
    ] = None,
    dialect: Annotated[KeyFor | None, typer.Option("--dialect", hidden=True)] = None,  # what 0.1.0 calls --protocol
    *,
    server: ServerChoice,
) -> None:
    """Make a key. It goes to standard output, this once; how to use it goes to standard error."""
    protocol = protocol or dialect
    if protocol is None:
        raise typer.BadParameter("give --protocol: whose clients the key is for")
    try:
        end = parse_expiry(expires, datetime.now(UTC)) if expires else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    body: dict[str, object] = {"protocol": protocol, "name": name, "expiresAt": end}
    body.update(_scope(protocol, dataset or [], destination))
    if key is not None:
        body["key"] = sys.stdin.readline().strip() if key == FROM_INPUT else key
    with server.connect() as client, options({"expiresAt": "--expires"}):
        made = call(client, "POST", KEYS, body)
    print(f"{protocol} key {made['name']} ({made['id']}): keep it, it is shown only now", file=sys.stderr)
    print(made["key"], flush=True)
    # Where the key is caught by a script, it is not repeated in what may be a log.
    readable = sys.stdout.isatty() and SHELL_SPECIAL.isdisjoint(made["key"])
    shown = made["key"] if readable else "$KEY"
    sends_to = (made.get("datasets") or [made.get("dataset") or made.get("destination")])[0]
    for line in usage(protocol, server.find().url, shown, sends_to):
        print(line, file=sys.stderr)


def _scope(protocol: KeyFor, datasets: list[str], destination: str | None) -> dict[str, object]:
    """Where the key sends, as the API takes it; BadParameter for what does not belong to the protocol."""
    if protocol is KeyFor.datamix:
        if datasets or not destination:
            also = ", not --dataset" if datasets else ""
            raise typer.BadParameter(f"a datamix key needs --destination SYSTEM.APPLICATION.ENVIRONMENT{also}")
        return {"destination": destination}
    if destination or not datasets:
        also = ", not --destination" if destination else ""
        raise typer.BadParameter(f"a {protocol} key needs --dataset DATASET{also}")
    if protocol is KeyFor.baselime:
        return {"datasets": datasets}
    if len(datasets) > 1:
        raise typer.BadParameter("a moesif key takes one --dataset, that of its application")
    return {"dataset": datasets[0]}


def usage(protocol: KeyFor, url: str, key: str, sends_to: str) -> list[str]:
    """Return what to set in a client, and commands for a shell that send a first event there."""
    base = f"{url}/{protocol}"
    if protocol is KeyFor.baselime:
        dataset = "logs" if sends_to == "*" else sends_to
        return [
            f"Set:   BASELIME_API_KEY={key} BASELIME_URL={base}/v1 COLLECTOR_URL={base}/v1",
            f'Try:   curl -sS {base}/v1/{dataset} -H "x-api-key: {key}" -d \'[{{"message":"hello","level":"info"}}]\'',
        ]
    if protocol is KeyFor.moesif:
        event = r"{\"request\":{\"time\":\"$(date -u +%FT%TZ)\",\"verb\":\"GET\",\"uri\":\"https://example.com/\"}}"
        return [
            f"Set:   the client's base URL (baseUri, BASE_URI, api_endpoint) to {base}, its application id to {key}",
            f'Try:   curl -sS {base}/v1/events -H "X-Moesif-Application-Id: {key}" -d "{event}"',
        ]
    message = '"messages[0][level]=info" -d "messages[0][timestamp]=$(date +%s)000" -d "messages[0][message]=hello"'
    token = r"""sed 's/.*"token":"\([^"]*\)".*/\1/'"""
    return [
        f'Open:  SESSION=$(curl -sS {base}/sessions --data-urlencode "key={key}" | {token})',
        f'Try:   curl -sS {base}/destinations/{sends_to}/logs -d "session=$SESSION" -d {message}',
    ]


@app.command("list")
@server_command
def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
    """List the keys, without their secrets."""
    with server.connect() as client:
        keys = call(client, "GET", KEYS)
    rows = [
        [
            item["id"],
            item["protocol"],
            item["name"],
            " ".join(item.get("datasets") or [item.get("dataset") or item.get("destination")]),
            item["expiresAt"] or "never",
        ]
        for item in keys
    ]
    print_list(["ID", "PROTOCOL", "NAME", "SENDS TO", "EXPIRES"], rows, keys, form)


@app.command("delete")
@app.command()
@server_command
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as listed.")],
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Revoke a key: its next use is refused.

    Example: tailrace key revoke ID --yes
    """
    confirm(yes, f"Revoke the key {key_id}?", f"nothing was revoked: to revoke the key {key_id}")
    with server.connect() as client:
        try:
            call(client, "DELETE", f"{KEYS}/{quoted(key_id)}")
        except NotFoundError as error:
            raise CommandError(f"{error}: give the id of a key; `tailrace key list` shows them") from error
    print(f"revoked key {key_id}")
