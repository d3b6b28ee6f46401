"""`tailrace audit`: who changed what, newest first."""

from typing import Annotated

import typer

from tailrace.cli.client import ServerChoice, call, server_command
from tailrace.cli.output import FormatOption, print_list
from tailrace.cli.query import APL_PATH, time_range

DATASET = "axiom-audit"  # as Axiom names the trail
COLUMNS = {
    "TIME": "_time",
    "ACTION": "action",
    "ACTOR": "actor.name",
    "WITH": "actor.credential",
    "RESOURCE": "resource.type",
}


@server_command
def audit(
    start: Annotated[
        str, typer.Option("--start", metavar="TIME", help="Changes from then on: RFC 3339, or like -1h.")
    ] = "-30d",
    end: Annotated[
        str | None, typer.Option("--end", metavar="TIME", help="Changes before then: RFC 3339, or like -5m.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=50_000, help="How many of the newest.")] = 100,
    form: FormatOption = None,
    *,
    server: ServerChoice,
) -> None:
    """Show the audit trail: who changed what, newest first. It is a dataset, axiom-audit, that can be queried.

    Example: tailrace audit --start -7d --format csv
    """
    body = {"apl": f"['{DATASET}'] | sort by _time desc | take {limit}", **time_range(start, end)}
    with server.connect() as client:
        answer = call(client, "POST", f"{APL_PATH}?format=tabular-rows&totals=false", body)
    table = answer["tables"][0]
    names = [field["name"] for field in table["fields"]]
    events = [
        {name: value for name, value in zip(names, row, strict=True) if value is not None} for row in table["rows"]
    ]
    rows = [
        [
            *(event.get(name, "") for name in COLUMNS.values()),
            event.get("resource.name") or event.get("resource.id", ""),
        ]
        for event in events
    ]
    print_list([*COLUMNS, "NAME"], rows, events, form)
