"""`tailrace console`: a link that signs a browser in."""

import webbrowser
from typing import Annotated

import typer

from tailrace.cli.client import ServerChoice, call, server_command

CODES_PATH = "/tailrace/v1/session/codes"


@server_command
def console(
    opens: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    *,
    server: ServerChoice,
) -> None:
    """Print a link to the console that signs one browser in, within a quarter of an hour.

    Example: tailrace console --open
    """
    with server.connect() as client:
        code = call(client, "POST", CODES_PATH)
        link = str(client.base_url).rstrip("/") + code["path"]
    print(link)
    if opens:
        webbrowser.open(link)
