"""`tailrace monitor`, `notifier`, `dashboard`, `vfield`, `view`, `annotation`, `saved-query`: documents of the API."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from tailrace.cli.client import ServerChoice, call, quoted, server_command
from tailrace.cli.errors import CommandError, NotFoundError, reason_of
from tailrace.cli.output import FormatOption, ListFormat, YesOption, confirm, print_json, print_list

STDIN = Path("-")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="JSON as the API takes it; - is standard input.")]


class Resource(Struct, frozen=True):
    """A sort of documents that the API lists, shows, makes, replaces and deletes."""

    noun: str  # in messages
    path: str
    columns: tuple[tuple[str, str], ...]  # of the list: heading, member
    id_member: str = "id"
    item_path: str = ""  # where a document is, when not beneath `path`
    body_member: str = ""  # of a body, where the document is not the whole of it
    by_dataset: bool = False  # listed for one dataset

    def place(self, document_id: str) -> str:
        """Return the path of one document."""
        return f"{self.item_path or self.path}/{quoted(document_id)}"


RESOURCES = {
    "monitor": Resource("monitor", "/v2/monitors", (("ID", "id"), ("NAME", "name"), ("TYPE", "type"))),
    "notifier": Resource("notifier", "/v2/notifiers", (("ID", "id"), ("NAME", "name"))),
    "dashboard": Resource(
        "dashboard",
        "/v2/dashboards",
        (("UID", "uid"), ("NAME", "dashboard.name"), ("UPDATED", "updatedAt")),
        id_member="uid",
        item_path="/v2/dashboards/uid",
    ),
    "vfield": Resource(
        "virtual field",
        "/v2/vfields",
        (("ID", "id"), ("NAME", "name"), ("TYPE", "type"), ("EXPRESSION", "expression")),
        by_dataset=True,
    ),
    "view": Resource("view", "/v2/views", (("ID", "id"), ("NAME", "name"), ("QUERY", "aplQuery"))),
    "annotation": Resource(
        "annotation",
        "/v2/annotations",
        (("ID", "id"), ("TIME", "time"), ("TYPE", "type"), ("TITLE", "title"), ("DATASETS", "datasets")),
    ),
    "saved-query": Resource(
        "saved query",
        "/v2/apl-starred-queries",
        (("ID", "id"), ("NAME", "name"), ("DATASET", "dataset"), ("QUERY", "query.apl")),
    ),
}


def group(name: str) -> typer.Typer:
    """Return the group of commands for one sort of documents."""
    resource = RESOURCES[name]
    noun, a_noun = resource.noun, f"{'an' if resource.noun[0] in 'aeiou' else 'a'} {resource.noun}"
    plural = f"{resource.noun.removesuffix('y')}{'ies' if resource.noun[-1] == 'y' else 's'}"
    app = typer.Typer(help=f"List, show, make, change and delete {plural}.", no_args_is_help=True)
    id_argument = Annotated[
        str, typer.Argument(metavar=resource.id_member.upper(), help=f"Which {noun}, as `tailrace {name} list` shows.")
    ]
    dataset_option = Annotated[str, typer.Option("--dataset", help="Dataset whose fields are listed.")]

    def listed(form: ListFormat | None, dataset: str | None, server: ServerChoice) -> None:
        query = f"?dataset={quoted(dataset)}" if dataset is not None else ""
        with server.connect() as client:
            found = call(client, "GET", f"{resource.path}{query}")
        columns = [heading for heading, _ in resource.columns]
        print_list(columns, [[_member(item, path) for _, path in resource.columns] for item in found], found, form)

    def one(server: ServerChoice, method: str, document_id: str, body: object = None) -> Any:
        with server.connect() as client:
            try:
                return call(client, method, resource.place(document_id), body)
            except NotFoundError as error:
                raise CommandError(f"{error}: `tailrace {name} list` shows the {plural}") from error

    if resource.by_dataset:

        @app.command("list", help=f"List the {plural} of a dataset.\n\nExample: tailrace {name} list --dataset web")
        @server_command
        def list_of_dataset(
            dataset: dataset_option,
            form: FormatOption = None,
            *,
            server: ServerChoice,
        ) -> None:
            listed(form, dataset, server)
    else:

        @app.command("list", help=f"List the {plural}.\n\nExample: tailrace {name} list --format json")
        @server_command
        def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
            listed(form, None, server)

    @app.command("show", help=f"Print {a_noun} as JSON.\n\nExample: tailrace {name} show ID > {name}.json")
    @server_command
    def show(document_id: id_argument, *, server: ServerChoice) -> None:
        print_json(one(server, "GET", document_id))

    @app.command("create", help=f"Make {a_noun} of a file. Its id goes to standard output.\n\n"
                                f"Example: tailrace {name} create {name}.json")  # fmt: skip
    @server_command
    def create(file: FileArgument, *, server: ServerChoice) -> None:
        body = _read(file)
        with server.connect() as client:
            made = call(client, "POST", resource.path, body)
        print(_member(made, resource.id_member) or _member(made, f"{name}.{resource.id_member}"))

    @app.command("update", help=f"Replace {a_noun} by what a file holds.\n\n"
                                f"Example: tailrace {name} update ID {name}.json")  # fmt: skip
    @server_command
    def update(document_id: id_argument, file: FileArgument, *, server: ServerChoice) -> None:
        one(server, "PUT", document_id, _read(file))
        print(f"updated {noun} {document_id}")

    @app.command("delete", help=f"Delete {a_noun}.\n\nExample: tailrace {name} delete ID --yes")
    @server_command
    def delete(document_id: id_argument, yes: YesOption = False, *, server: ServerChoice) -> None:
        confirm(yes, f"Delete the {noun} {document_id}?", f"nothing was deleted: to delete the {noun} {document_id}")
        one(server, "DELETE", document_id)
        print(f"deleted {noun} {document_id}")

    return app


def _member(document: Any, path: str) -> Any:
    """Return a member of nested objects, by its names with dots between them; None where it is not there."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return ", ".join(map(str, document)) if isinstance(document, list) else document


def _read(file: Path) -> Any:
    name = "standard input" if file == STDIN else str(file)
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text()
        return json.loads(text)
    except FileNotFoundError as error:
        raise typer.BadParameter(f"there is no file {name}", param_hint="FILE") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {name}: {reason_of(error)}") from error
    except ValueError as error:
        raise CommandError(f"{name} is not JSON: {error}") from error


monitor, notifier, dashboard = group("monitor"), group("notifier"), group("dashboard")
vfield, view, annotation, saved_query = group("vfield"), group("view"), group("annotation"), group("saved-query")
