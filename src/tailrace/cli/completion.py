"""Completion of the names of datasets, as a shell asks for it."""

import re

import httpx
import typer

from tailrace.cli.client import ServerChoice
from tailrace.cli.errors import CommandError

TIMEOUT_S = 1.0  # a shell waits for it


def dataset_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the datasets whose names begin so, of the server that the command line has so far.

    None where no server tells in time: a shell that completes has no place for errors.
    """
    choice = ServerChoice(**{name: ctx.params.get(name) for name in ("url", "token", "data", "cafile")})
    try:
        with choice.connect() as client:
            answer = client.get("/v2/datasets", timeout=TIMEOUT_S)
            names = [str(dataset["name"]) for dataset in answer.json()] if answer.is_success else []
    except (CommandError, httpx.HTTPError, ValueError, TypeError, KeyError):
        return []
    return sorted(name for name in names if name.startswith(incomplete) and _WORD.fullmatch(name))


_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")  # which no shell could take for more than one
