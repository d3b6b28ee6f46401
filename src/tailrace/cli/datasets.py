"""`tailrace dataset`: create, list and drop datasets."""

from typing import Annotated

import typer

from tailrace.cli.client import (
    DEFAULT_DATA,
    DataOption,
    TokenOption,
    UrlOption,
    call,
    connect,
    find_server,
    quoted,
)
from tailrace.cli.errors import USAGE, CommandError
from tailrace.cli.output import print_table, stdin_is_terminal

app = typer.Typer(help="Create, list and drop datasets.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    description: Annotated[str, typer.Option("--description", help="What it holds.")] = "",
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Create a dataset."""
    with connect(find_server(url, token, data)) as client:
        call(client, "POST", "/v2/datasets", {"name": name, "description": description})


@app.command("list")
def list_all(url: UrlOption = None, token: TokenOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """List the datasets."""
    with connect(find_server(url, token, data)) as client:
        datasets = call(client, "GET", "/v2/datasets")
    print_table(
        ["NAME", "CREATED", "DESCRIPTION"],
        [[item["name"], item["created"], item.get("description", "")] for item in datasets],
    )


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; needed where nobody can be asked.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Drop a dataset and all its events."""
    if not yes and not stdin_is_terminal():
        raise CommandError(f"nothing was dropped: to drop {name} and all its events, give --yes", USAGE)
    if not yes and not typer.confirm(f"Drop {name} and all its events?", err=True):
        raise CommandError("nothing was dropped")
    with connect(find_server(url, token, data)) as client:
        call(client, "DELETE", f"/v2/datasets/{quoted(name)}")
    print(f"dropped dataset {name} and all its events")
