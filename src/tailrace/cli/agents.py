"""`tailrace mcp`: the tools for agents over standard input and output."""

import logging

from tailrace.cli.client import ServerChoice, server_command
from tailrace.cli.errors import CommandError


@server_command
def mcp(*, server: ServerChoice) -> None:
    """Serve an agent the tools to query a running server, over standard input and output (Model Context Protocol).

    An agent starts it. One that speaks HTTP needs no command: the server answers at /mcp.

    Example: tailrace mcp --url http://127.0.0.1:8080 --token xaat-…
    """
    logging.basicConfig(level=logging.WARNING)  # to standard error; the library would log every call
    try:
        from tailrace.agents.server import agent_server
    except ModuleNotFoundError as error:
        raise CommandError(f"the package {error.name} is missing: pip install tailrace[mcp] has it") from error
    client = server.connect_async()
    agent_server(lambda headers: client).run("stdio")
