"""`tailrace dataset`: create, list, look into, trim and drop datasets."""

from typing import Annotated, Any

import typer

from tailrace.cli.client import (
    ServerChoice,
    call,
    quoted,
    server_command,
)
from tailrace.cli.errors import USAGE, CommandError
from tailrace.cli.output import print_table, stdin_is_terminal

app = typer.Typer(help="Create, list, look into, trim and drop datasets.", no_args_is_help=True)


@app.command()
@server_command
def create(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    description: Annotated[str, typer.Option("--description", help="What it holds.")] = "",
    retention: Annotated[
        int, typer.Option("--retention", metavar="DAYS", min=0, help="Days that events are kept; 0 for good.")
    ] = 0,
    *,
    server: ServerChoice,
) -> None:
    """Create a dataset.

    Example: tailrace dataset create web --description "web logs" --retention 30
    """
    body = {"name": name, "description": description, "retentionDays": retention}
    with server.connect() as client:
        call(client, "POST", "/v2/datasets", body)


@app.command("list")
@server_command
def list_all(*, server: ServerChoice) -> None:
    """List the datasets."""
    with server.connect() as client:
        datasets = call(client, "GET", "/v2/datasets")
    print_table(
        ["NAME", "CREATED", "DESCRIPTION"],
        [[item["name"], item["created"], _described(item)] for item in datasets],
    )


def _described(item: dict[str, Any]) -> str:
    description: str = item.get("description", "")
    reason = item.get("unavailable")
    return f"unavailable: {reason} {f'({description})' if description else ''}".strip() if reason else description


@app.command()
@server_command
def info(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    *,
    server: ServerChoice,
) -> None:
    """Show what a dataset is and how much it holds.

    Example: tailrace dataset info web
    """
    with server.connect() as client:
        dataset = call(client, "GET", f"/v2/datasets/{quoted(name)}")
        figures = call(client, "GET", f"/v1/datasets/{quoted(name)}/info")
    kept = f"{dataset['retentionDays']} days" if dataset["useRetentionPeriod"] else "for good"
    print_table(
        ["WHAT", "VALUE"],
        [
            ["name", dataset["name"]],
            ["description", dataset["description"]],
            ["created", dataset["created"]],
            ["kept", kept],
            ["events", str(figures["numEvents"])],
            ["fields", str(figures["numFields"])],
            ["first event", figures.get("minTime", "none")],
            ["last event", figures.get("maxTime", "none")],
            ["files", str(figures["numBlocks"])],
            ["on disk", figures["compressedBytesHuman"]],
            ["uncompressed", figures["inputBytesHuman"]],
        ],
    )


@app.command()
@server_command
def fields(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    *,
    server: ServerChoice,
) -> None:
    """List the fields that the events of a dataset have.

    Example: tailrace dataset fields web
    """
    with server.connect() as client:
        found = call(client, "GET", f"/v2/datasets/{quoted(name)}/fields")
    print_table(
        ["NAME", "TYPE", "UNIT", "DESCRIPTION"],
        [[item["name"], item["type"], item["unit"], item["description"]] for item in found],
    )


@app.command()
@server_command
def trim(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="Age, such as 12h or 30d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; needed where nobody can be asked.")] = False,
    *,
    server: ServerChoice,
) -> None:
    """Delete the events of a dataset that are older than an age.

    Example: tailrace dataset trim web --older-than 30d
    """
    _ask(yes, f"Delete the events of {name} older than {older_than}?", f"nothing was deleted: to trim {name}")
    with server.connect() as client:
        found = call(client, "POST", f"/v1/datasets/{quoted(name)}/trim", {"maxDuration": older_than})
    print(f"deleted {found['numDeleted']} events of dataset {name}")


@app.command()
@server_command
def delete(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; needed where nobody can be asked.")] = False,
    *,
    server: ServerChoice,
) -> None:
    """Drop a dataset and all its events.

    Example: tailrace dataset delete web --yes
    """
    _ask(yes, f"Drop {name} and all its events?", f"nothing was dropped: to drop {name} and all its events")
    with server.connect() as client:
        call(client, "DELETE", f"/v2/datasets/{quoted(name)}")
    print(f"dropped dataset {name} and all its events")


def _ask(yes: bool, question: str, otherwise: str) -> None:
    """Raises CommandError unless it is wanted."""
    if yes:
        return
    if not stdin_is_terminal():
        raise CommandError(f"{otherwise}, give --yes", USAGE)
    if not typer.confirm(question, err=True):
        raise CommandError(otherwise.partition(":")[0])
