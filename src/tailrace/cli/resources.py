"""`tailrace monitor`, `notifier`, `dashboard`, `vfield`, `view`, `annotation`, `saved-query`: documents of the API."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from tailrace.cli.client import ServerChoice, call, quoted, server_command
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import CommandError, NotFoundError, reason_of
from tailrace.cli.output import FormatOption, ListFormat, YesOption, confirm, print_json, print_list

STDIN = Path("-")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="JSON as the API takes it; - is standard input.")]


class DocumentKind(Struct, frozen=True):
    """A sort of documents that the API lists, shows, makes, replaces and deletes."""

    command: str
    noun: str  # in messages
    path: str
    columns: tuple[tuple[str, str], ...]  # of the list: heading, member
    id_member: str = "id"
    item_path: str = ""  # where a document is, when not beneath `path`
    body_member: str = ""  # of a body, where the document is not the whole of it
    by_dataset: bool = False  # listed for one dataset

    @property
    def a_noun(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def plural(self) -> str:
        """The plural of the noun."""
        return f"{self.noun.removesuffix('y')}{'ies' if self.noun[-1] == 'y' else 's'}"

    def place(self, document_id: str) -> str:
        """Return the path of one document."""
        return f"{self.item_path or self.path}/{quoted(document_id)}"


KINDS = (
    DocumentKind("monitor", "monitor", "/v2/monitors", (("ID", "id"), ("NAME", "name"), ("TYPE", "type"))),
    DocumentKind("notifier", "notifier", "/v2/notifiers", (("ID", "id"), ("NAME", "name"))),
    DocumentKind(
        "dashboard",
        "dashboard",
        "/v2/dashboards",
        (("UID", "uid"), ("NAME", "dashboard.name"), ("UPDATED", "updatedAt")),
        id_member="uid",
        item_path="/v2/dashboards/uid",
    ),
    DocumentKind(
        "vfield",
        "virtual field",
        "/v2/vfields",
        (("ID", "id"), ("NAME", "name"), ("TYPE", "type"), ("EXPRESSION", "expression")),
        by_dataset=True,
    ),
    DocumentKind("view", "view", "/v2/views", (("ID", "id"), ("NAME", "name"), ("QUERY", "aplQuery"))),
    DocumentKind(
        "annotation",
        "annotation",
        "/v2/annotations",
        (("ID", "id"), ("TIME", "time"), ("TYPE", "type"), ("TITLE", "title"), ("DATASETS", "datasets")),
    ),
    DocumentKind(
        "saved-query",
        "saved query",
        "/v2/apl-starred-queries",
        (("ID", "id"), ("NAME", "name"), ("DATASET", "dataset"), ("QUERY", "query.apl")),
    ),
)


def group(kind: DocumentKind) -> typer.Typer:
    """Return the group of commands for one kind of documents."""
    app = typer.Typer(help=f"List, show, make, change and delete {kind.plural}.", no_args_is_help=True)
    _add_list(app, kind)
    _add_show(app, kind)
    _add_create(app, kind)
    _add_update(app, kind)
    _add_delete(app, kind)
    return app


def _add_list(app: typer.Typer, kind: DocumentKind) -> None:
    name, plural = kind.command, kind.plural
    dataset_option = Annotated[
        str, typer.Option("--dataset", help="Dataset whose fields are listed.", autocompletion=dataset_names)
    ]

    def print_documents(form: ListFormat | None, dataset: str | None, server: ServerChoice) -> None:
        query = f"?dataset={quoted(dataset)}" if dataset is not None else ""
        with server.connect() as client:
            found = call(client, "GET", f"{kind.path}{query}")
        columns = [heading for heading, _ in kind.columns]
        print_list(columns, [[_member(item, path) for _, path in kind.columns] for item in found], found, form)

    if kind.by_dataset:

        @app.command("list", help=f"List the {plural} of a dataset.\n\nExample: tailrace {name} list --dataset web")
        @server_command
        def list_of_dataset(dataset: dataset_option, form: FormatOption = None, *, server: ServerChoice) -> None:
            print_documents(form, dataset, server)
    else:

        @app.command("list", help=f"List the {plural}.\n\nExample: tailrace {name} list --format json")
        @server_command
        def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
            print_documents(form, None, server)


def _add_show(app: typer.Typer, kind: DocumentKind) -> None:
    name = kind.command
    id_argument = _id_argument(kind)

    @app.command("show", help=f"Print {kind.a_noun} as JSON.\n\nExample: tailrace {name} show ID > {name}.json")
    @server_command
    def show(document_id: Annotated[str, id_argument], *, server: ServerChoice) -> None:
        print_json(_call_for_one(kind, server, "GET", document_id))


def _add_create(app: typer.Typer, kind: DocumentKind) -> None:
    name = kind.command

    @app.command("create", help=f"Make {kind.a_noun} of a file. Its id goes to standard output.\n\n"
                                f"Example: tailrace {name} create {name}.json")  # fmt: skip
    @server_command
    def create(file: FileArgument, *, server: ServerChoice) -> None:
        body = _read(file)
        with server.connect() as client:
            made = call(client, "POST", kind.path, body)
        print(_member(made, kind.id_member) or _member(made, f"{name}.{kind.id_member}"))


def _add_update(app: typer.Typer, kind: DocumentKind) -> None:
    name = kind.command
    id_argument = _id_argument(kind)

    @app.command("update", help=f"Replace {kind.a_noun} by what a file holds.\n\n"
                                f"Example: tailrace {name} update ID {name}.json")  # fmt: skip
    @server_command
    def update(document_id: Annotated[str, id_argument], file: FileArgument, *, server: ServerChoice) -> None:
        _call_for_one(kind, server, "PUT", document_id, _read(file))
        print(f"updated {kind.noun} {document_id}")


def _add_delete(app: typer.Typer, kind: DocumentKind) -> None:
    noun = kind.noun
    id_argument = _id_argument(kind)

    @app.command("delete", help=f"Delete {kind.a_noun}.\n\nExample: tailrace {kind.command} delete ID --yes")
    @server_command
    def delete(document_id: Annotated[str, id_argument], yes: YesOption = False, *, server: ServerChoice) -> None:
        confirm(yes, f"Delete the {noun} {document_id}?", f"nothing was deleted: to delete the {noun} {document_id}")
        _call_for_one(kind, server, "DELETE", document_id)
        print(f"deleted {noun} {document_id}")


def _id_argument(kind: DocumentKind) -> Any:
    which = f"Which {kind.noun}, as `tailrace {kind.command} list` shows."
    return typer.Argument(metavar=kind.id_member.upper(), help=which)


def _call_for_one(kind: DocumentKind, server: ServerChoice, method: str, document_id: str, body: object = None) -> Any:
    """Call the API about one document; raise CommandError, for one that is not there with how to find it."""
    with server.connect() as client:
        try:
            return call(client, method, kind.place(document_id), body)
        except NotFoundError as error:
            raise CommandError(f"{error}: `tailrace {kind.command} list` shows the {kind.plural}") from error


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


monitor, notifier, dashboard, vfield, view, annotation, saved_query = map(group, KINDS)
