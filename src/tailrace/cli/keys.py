"""`tailrace key`: make, list and revoke keys, which clients send with that have no tokens."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from tailrace.cli.client import ServerChoice, call, quoted, server_command
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import CommandError, NotFoundError, options
from tailrace.cli.output import FormatOption, YesOption, confirm, print_list
from tailrace.cli.tokens import parse_expiry

app = typer.Typer(
    help="Make, list and revoke keys, for clients of protocols that have no tokens.", no_args_is_help=True
)

KEYS = "/tailrace/v1/keys"
OPTIONS = {
    "expiresAt": "--expires",
    "protocol": "--protocol",
    "datasets": "--dataset",
    "dataset": "--dataset",
    "destination": "--destination",
}
FROM_INPUT = "-"
SHELL_SPECIAL = frozenset('"$`\\!')  # within double quotes


@app.command()
@server_command
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="NAME", show_default=False, help="Whose clients it is for.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            autocompletion=dataset_names,
            metavar="DATASET",
            help="Where its events may go; of some protocols several (repeatable), or * for every one. Made where it "
            "is missing.",
        ),
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option(
            "--destination",
            metavar="SYSTEM.APPLICATION.ENVIRONMENT",
            help="Where its events go, of protocols that have destinations.",
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="End: a time, as 2030-01-31, or from now: 90d, 12h.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="A key that the clients have already; - reads it from the input."),
    ] = None,
    dialect: Annotated[str | None, typer.Option("--dialect", hidden=True)] = None,  # what 0.1.0 calls --protocol
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
    if destination:
        body["destination"] = destination
    if dataset:
        body |= {"dataset": dataset[0]} if len(dataset) == 1 else {"datasets": dataset}
    if key is not None:
        body["key"] = sys.stdin.readline().strip() if key == FROM_INPUT else key
    with server.connect() as client, options(OPTIONS):
        made = call(client, "POST", KEYS, body)
    print(f"{protocol} key {made['name']} ({made['id']}): keep it, it is shown only now", file=sys.stderr)
    print(made["key"], flush=True)
    # Where the key is caught by a script, it is not repeated in what may be a log.
    readable = sys.stdout.isatty() and SHELL_SPECIAL.isdisjoint(made["key"])
    shown = made["key"] if readable else "$KEY"
    url = server.find().url
    for line in made["usage"]:
        print(line.replace("{url}", url).replace("{key}", shown), file=sys.stderr)


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
