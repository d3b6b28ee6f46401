"""`tailrace dataset`: create, list, look into, trim and drop datasets."""

from typing import Annotated, Any

import typer

from tailrace.cli.client import (
    ServerChoice,
    call,
    quoted,
    server_command,
)
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import options
from tailrace.cli.output import FormatOption, YesOption, confirm, counted, print_list, print_table
from tailrace.cli.query import print_field_messages, time_range, with_caret

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
def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
    """List the datasets."""
    with server.connect() as client:
        datasets = call(client, "GET", "/v2/datasets")
    rows = [[item["name"], item["created"], _described(item)] for item in datasets]
    print_list(["NAME", "CREATED", "DESCRIPTION"], rows, datasets, form)


def _described(item: dict[str, Any]) -> str:
    description: str = item.get("description", "")
    reason = item.get("unavailable")
    return f"unavailable: {reason} {f'({description})' if description else ''}".strip() if reason else description


@app.command()
@server_command
def info(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    *,
    server: ServerChoice,
) -> None:
    """Show what a dataset is and how much it holds.

    Example: tailrace dataset info web
    """
    with server.connect() as client:
        dataset = call(client, "GET", f"/v2/datasets/{quoted(name)}")
        figures = call(client, "GET", f"/v1/datasets/{quoted(name)}/info")
    kept = counted(dataset["retentionDays"], "day") if dataset["useRetentionPeriod"] else "for good"
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
            ["on disk", f"{figures['compressedBytesHuman']} in {counted(figures['numFiles'], 'file')}"],
            ["not committed", counted(figures["uncommittedEvents"], "event")],
            ["received", f"{figures['inputBytesHuman']} in {counted(figures['inputEvents'], 'event')}"],
        ],
    )


@app.command()
@server_command
def fields(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    form: FormatOption = None,
    *,
    server: ServerChoice,
) -> None:
    """List the fields that the events of a dataset have.

    Example: tailrace dataset fields web
    """
    with server.connect() as client:
        found = call(client, "GET", f"/v2/datasets/{quoted(name)}/fields")
    rows = [[item["name"], item["type"], item["unit"], item["description"]] for item in found]
    print_list(["NAME", "TYPE", "UNIT", "DESCRIPTION"], rows, found, form)


@app.command()
@server_command
def trim(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="Age, such as 12h or 30d.")],
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Delete the events of a dataset that are older than an age.

    Example: tailrace dataset trim web --older-than 30d
    """
    confirm(yes, f"Delete the events of {name} older than {older_than}?", f"nothing was deleted: to trim {name}")
    with server.connect() as client, options({"maxDuration": "--older-than"}):
        found = call(client, "POST", f"/v1/datasets/{quoted(name)}/trim", {"maxDuration": older_than})
    print(f"deleted {counted(found['numDeleted'], 'event')} of dataset {name}")


@app.command()
@server_command
def delete(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Drop a dataset and all its events.

    Example: tailrace dataset delete web --yes
    """
    confirm(yes, f"Drop {name} and all its events?", f"nothing was dropped: to drop {name} and all its events")
    with server.connect() as client:
        call(client, "DELETE", f"/v2/datasets/{quoted(name)}")
    print(f"dropped dataset {name} and all its events")


@app.command()
@server_command
def vacuum(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=dataset_names)],
    *,
    server: ServerChoice,
) -> None:
    """Merge the files of a dataset's days, and remove from the disk those that nothing reads any more.

    Example: tailrace dataset vacuum web
    """
    with server.connect() as client:
        done = call(client, "POST", f"/v2/datasets/{quoted(name)}/vacuum")
    files = counted(done["filesBefore"], "file")
    print(f"{files} became {done['filesAfter']}; removed from the disk: {done['filesRemoved']}")


@app.command("delete-events")
@server_command
def delete_events(
    apl: Annotated[
        str, typer.Argument(metavar="APL", help="Which ones: a dataset's name and conditions, | where user == 'u-17'.")
    ],
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="Events from then on: RFC 3339, or like -1h.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="TIME", help="Events before then: RFC 3339, or like -5m.")
    ] = None,
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Delete events that a query finds. It first counts them, and asks.

    Example: tailrace dataset delete-events "web | where user == 'u-17'" --start -30d
    """
    body: dict[str, object] = {"apl": apl, **time_range(start, end)}
    with server.connect() as client, with_caret(apl):
        print_field_messages(client, apl, time_range(start, end))
        found = call(client, "POST", "/v2/datasets/_apl/delete", body)
        events = counted(found["rowsMatched"], "event")
        if not found["rowsMatched"]:
            print("deleted 0 events: none is found")
            return
        confirm(yes, f"Delete {events}?", f"nothing was deleted: to delete {events}")
        done = call(client, "POST", "/v2/datasets/_apl/delete", {**body, "commit": True})
    print(f"deleted {counted(done['rowsDeleted'], 'event')}")
