"""The banner: what a server prints when it is ready, with command lines to try it, and when it stops."""

import contextlib
from collections.abc import Sequence

from tailrace import __version__
from tailrace.server.logs import as_logged
from tailrace.server.owner_token import OwnerToken


def say(text: str) -> None:
    """Print lines in the form of the log; a closed terminal is no error, so that the server can stop in order."""
    with contextlib.suppress(OSError):
        print(as_logged(text), flush=True)


def print_banner(url: str, token: OwnerToken, dataset: str, doors: Sequence[str] = (), *, console: str = "") -> None:
    """Print the URL, the link to the `console`, the open doors that are no HTTP, where the token is, and what to try.

    The command lines send an event to a dataset and query it.
    """
    authorization = f'-H "Authorization: Bearer {token.shell}"'
    event = '[{"message":"hello","level":"info"}]'
    query = f'{{"apl":"{dataset} | limit 10"}}'
    lines = [
        f"Tailrace {__version__} is ready at {url}",
        *([f"Console: {console} (signs in once; tailrace console makes another link)"] if console else []),
        *([f"Doors:  {', '.join(doors)}"] if doors else []),
        f"Token:  {token.notice}",
        f"Ingest: curl -sS {url}/v1/datasets/{dataset}/ingest {authorization} "
        f"-H 'Content-Type: application/json' -d '{event}'",
        f"Query:  curl -sS {url}/v1/datasets/_apl {authorization} -H 'Accept: application/x-ndjson' -d '{query}'",
    ]
    say("\n".join(lines))
