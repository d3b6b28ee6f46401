"""`tailrace token`: make, list and revoke API tokens."""

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer

from tailrace.cli.client import (
    ServerChoice,
    call,
    quoted,
    server_command,
)
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import CommandError, NotFoundError, options
from tailrace.cli.output import FormatOption, YesOption, confirm, print_json, print_list
from tailrace.config import parse_duration

app = typer.Typer(help="Make, list and revoke API tokens.", no_args_is_help=True)

# Capability to its action.
RIGHTS = {"ingest": "create", "query": "read", "trim": "update", "vacuum": "update", "data": "delete"}
EVERY_DATASET = "*"
USUAL_RIGHTS = ("ingest", "query")
REGENERATED = {"existingTokenExpiresAt": "--overlap", "newTokenExpiresAt": "--expires"}
NO_EXPIRY = "0001-01-01T00:00:00Z"
OrganisationRightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--org", metavar="CAPABILITY[:ACTIONS]", help="Right on the organisation, as dashboards:read. Repeatable."
    ),
]
DatasetRightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        autocompletion=dataset_names,
        metavar="DATASET[:RIGHTS]",
        help="Dataset (* for every one) and rights: ingest, query (both when left out), trim, vacuum, data (to "
        "delete events). Repeatable.",
    ),
]
DefaultDatasetOption = Annotated[
    str,
    typer.Option("--default-dataset", metavar="DATASET", help="Dataset of what it sends where nothing else names one."),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="WHAT:AMOUNT",
        help="What its queries may take a day: rows or bytes of answers, seconds of time. Repeatable.",
    ),
]
_DURATION = re.compile(r"\s*-?[\d.]+\s*[a-z]*\s*")


class TokenRole(StrEnum):
    """A usual set of rights."""

    viewer = "viewer"
    editor = "editor"
    admin = "admin"
    metrics = "metrics"
    backup = "backup"


def role_rights(role: TokenRole) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]]]:
    """Return the capabilities on datasets and on the organisation that a role stands for."""
    documents = ("annotations", "dashboards", "datasets", "monitors", "notifiers", "views")
    read, change = ["read"], ["create", "read", "update", "delete"]
    match role:
        case TokenRole.metrics:
            return {}, {"server": read}
        case TokenRole.backup:
            return {}, {"server": ["backup"]}
        case TokenRole.viewer:
            on_datasets = {"query": read, "starredQueries": read, "virtualFields": read}
            return {EVERY_DATASET: on_datasets}, dict.fromkeys(documents, read)
        case TokenRole.editor:
            on_datasets = {"ingest": ["create"], "query": read, "starredQueries": change, "virtualFields": change}
            return {EVERY_DATASET: on_datasets}, dict.fromkeys(documents, change)
        case TokenRole.admin:
            on_datasets = {
                **{right: [action] for right, action in RIGHTS.items()},
                **dict.fromkeys(("starredQueries", "virtualFields", "share"), change),
            }
            managed = dict.fromkeys((*documents, "apiTokens", "rbac", "users"), change)
            return {EVERY_DATASET: on_datasets}, {**managed, "auditLog": read, "server": read}


def parse_rights(text: str) -> tuple[str, dict[str, list[str]]]:
    """Return the dataset and the capability map of "DATASET" (ingest and query) or "DATASET:ingest,query".

    Raise ValueError.
    """
    dataset, colon, names = text.partition(":")
    rights = [name.strip() for name in names.split(",")] if colon else list(USUAL_RIGHTS)
    if not dataset:
        raise ValueError(f"{text!r} names no dataset: it is like DATASET or DATASET:ingest,query")
    for right in rights:
        if right not in RIGHTS:
            raise ValueError(f"{right!r} in {text!r} is no right: there are {', '.join(RIGHTS)}")
    return dataset, {right: [RIGHTS[right]] for right in rights}


def parse_expiry(text: str, now: datetime) -> str:
    """Return the end that a duration from now such as "90d" means, as RFC 3339; another text is the server's to read.

    Raise ValueError for what is nearly a duration, and for digits alone, which could be a year or seconds.
    """
    if not _DURATION.fullmatch(text):
        return text
    try:
        end = now + timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no duration from now: it is like 90d or 12h, with s, m, h or d") from None
    if text.strip()[-1].isdigit():
        raise ValueError(f"{text!r} has no unit: a duration from now is like 90d or 12h, a time like 2030-01-31")
    return end.astimezone(UTC).isoformat().replace("+00:00", "Z")


@app.command()
@server_command
def create(
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    dataset: DatasetRightsOption = None,
    role: Annotated[
        TokenRole | None, typer.Option("--role", help="A usual set of rights on every dataset and the organisation.")
    ] = None,
    org: OrganisationRightsOption = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="End: a time, as 2030-01-31, or from now: 90d, 12h.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    default_dataset: DefaultDatasetOption = "",
    budget: BudgetOption = None,
    *,
    server: ServerChoice,
) -> None:
    """Make an API token. Its secret goes to standard output, this once.

    Roles: viewer reads all (Grafana, MCP servers), editor also sends events and changes documents, admin may everything
    (Terraform), metrics reads /metrics alone (Prometheus).

    Examples:

      tailrace token create app --dataset web:ingest --dataset audit:query --expires 90d

      tailrace token create grafana --role viewer

      tailrace token create agent --dataset web:query --budget rows:100000 --budget seconds:600
    """
    if not (dataset or org or role):
        raise typer.BadParameter("say what it may do: --dataset web:ingest, --role viewer, --org monitors:read")
    try:
        capabilities, organisation = _rights(role, dataset or (), org or ())
        end = parse_expiry(expires, datetime.now(UTC)) if expires else None
        per_day = parse_budget(budget or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    body = {
        "name": name,
        "description": description,
        "datasetCapabilities": capabilities,
        "orgCapabilities": organisation,
        "expiresAt": end or NO_EXPIRY,
        "defaultDataset": default_dataset,
        "budget": per_day,
    }
    with server.connect() as client:
        with options({"expiresAt": "--expires", "defaultDataset": "--default-dataset"}):
            made = call(client, "POST", "/v2/tokens", body)
        for line in _missing(client, capabilities):
            print(f"tailrace: warning: {line}", file=sys.stderr)
    print(f"token {made['name']} ({made['id']}): keep the secret, it is shown only now", file=sys.stderr)
    print(made["token"])


def parse_budget(texts: Iterable[str]) -> dict[str, float]:
    """Return what a token may take a day, as the API has it, of texts such as rows:100000; raise ValueError."""
    found = {}
    for text in texts:
        what, _, amount = text.partition(":")
        if what not in ("rows", "bytes", "seconds") or not re.fullmatch(r"\d+(\.\d+)?", amount):
            raise ValueError(f"{text!r} is no budget: it is like rows:100000, bytes:1000000 or seconds:600")
        found[f"{what}PerDay"] = float(amount)
    return found


def _rights(
    role: TokenRole | None, on_datasets: Iterable[str], on_organisation: Iterable[str]
) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]]]:
    """Return the capabilities on datasets and on the organisation that options give together; raise ValueError."""
    capabilities, organisation = role_rights(role) if role else ({}, {})
    for text in on_datasets:
        dataset, rights = parse_rights(text)
        capabilities.setdefault(dataset, {}).update(rights)
    for text in on_organisation:
        capability, _, actions = text.partition(":")
        organisation[capability] = [action.strip() for action in actions.split(",")] if actions else ["read"]
    return capabilities, organisation


def _missing(client: httpx.Client, names: Iterable[str]) -> Iterator[str]:
    """Say which of the datasets do not exist, as they may not yet."""
    try:
        there = {item["name"] for item in call(client, "GET", "/v2/datasets")}
    except CommandError as error:
        yield f"could not see whether the datasets exist: {error}"
        return
    for name in names:
        if name != "*" and name not in there:
            yield f"there is no dataset {name}: `tailrace dataset create` makes one"


@app.command("list")
@server_command
def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
    """List the API tokens, without their secrets."""
    with server.connect() as client:
        tokens = call(client, "GET", "/v2/tokens")
    rows = [
        [
            item["id"],
            item["name"],
            " ".join(f"{name}:{','.join(rights)}" for name, rights in item["datasetCapabilities"].items()),
            " ".join(f"{name}:{','.join(actions)}" for name, actions in item["orgCapabilities"].items()),
            "never" if item["expiresAt"] == NO_EXPIRY else item["expiresAt"],
            item.get("defaultDataset", ""),
        ]
        for item in tokens
    ]
    print_list(["ID", "NAME", "DATASETS", "ORGANISATION", "EXPIRES", "DEFAULT DATASET"], rows, tokens, form)


@app.command()
@server_command
def show(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as listed.")],
    *,
    server: ServerChoice,
) -> None:
    """Show an API token as JSON, without its secret.

    Example: tailrace token show ID
    """
    with server.connect() as client:
        print_json(_call_for_one(client, "GET", token_id))


@app.command()
@server_command
def regenerate(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as listed.")],
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="TIME", help="How long the old one works on: 1h, 7d, or until a time, as 2030-01-31."
        ),
    ] = "0s",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="TIME", help="End of the new one: a time, as 2030-01-31, or from now: 90d, 12h."
        ),
    ] = None,
    *,
    server: ServerChoice,
) -> None:
    """Make a token like an API token, with a new id and secret. The secret goes to standard output, this once.

    Example: tailrace token regenerate ID --overlap 1h
    """
    try:
        ends = parse_expiry(overlap, datetime.now(UTC))
        new_end = parse_expiry(expires, datetime.now(UTC)) if expires else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with server.connect() as client, options(REGENERATED):
        body = {"existingTokenExpiresAt": ends, "newTokenExpiresAt": new_end}
        made = _call_for_one(client, "POST", token_id, "/regenerate", body)
    print(f"token {made['name']} ({made['id']}): the old one ends at {ends}; keep the secret", file=sys.stderr)
    print(made["token"])


@app.command("revoke")
@app.command()
@server_command
def delete(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as listed.")],
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Revoke an API token: its next use is refused.

    Example: tailrace token revoke ID --yes
    """
    confirm(yes, f"Revoke the token {token_id}?", f"nothing was revoked: to revoke the token {token_id}")
    with server.connect() as client:
        _call_for_one(client, "DELETE", token_id)
    print(f"revoked token {token_id}")


def _call_for_one(client: httpx.Client, method: str, token_id: str, path: str = "", body: object = None) -> Any:
    try:
        return call(client, method, f"/v2/tokens/{quoted(token_id)}{path}", body)
    except NotFoundError as error:
        raise CommandError(f"{error}: give the id of a token; `tailrace token list` shows them") from error
