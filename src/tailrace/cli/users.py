"""`tailrace user`: the users of the organisation, their roles and their personal tokens."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer

from tailrace.cli.client import ServerChoice, call, quoted, server_command
from tailrace.cli.errors import CommandError, NotFoundError
from tailrace.cli.output import FormatOption, ListFormat, YesOption, confirm, print_list

app = typer.Typer(help="Show and change users, their roles and their personal tokens.", no_args_is_help=True)

USERS = "/v2/users"
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the user, or their email.")]


class UserRole(StrEnum):
    """What a user may do."""

    owner = "owner"
    admin = "admin"
    user = "user"
    read_only = "read-only"
    none = "none"


RoleOption = Annotated[UserRole, typer.Option("--role", help="What they may do.")]


@app.command()
@server_command
def show(*, server: ServerChoice) -> None:
    """Show the user that the token belongs to."""
    with server.connect() as client:
        _print([call(client, "GET", "/v2/user")])


@app.command("set")
@server_command
def change(
    name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    email: Annotated[str | None, typer.Option("--email", help='New email; "" for none.')] = None,
    *,
    server: ServerChoice,
) -> None:
    """Change the name or the email of the user that the token belongs to."""
    if name is None and email is None:
        raise typer.BadParameter("give --name, --email or both")
    with server.connect() as client:
        _print([call(client, "PUT", "/v2/user", {"name": name, "email": email})])


@app.command("list")
@server_command
def list_all(form: FormatOption = None, *, server: ServerChoice) -> None:
    """List the users of the organisation."""
    with server.connect() as client:
        _print(call(client, "GET", USERS), form)


@app.command()
@server_command
def create(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    email: Annotated[str, typer.Option("--email", help="Their email.")] = "",
    role: RoleOption = UserRole.user,
    *,
    server: ServerChoice,
) -> None:
    """Add a user. Their id goes to standard output; `tailrace user token` makes them a token.

    Example: tailrace user create "Ada" --email ada@example.com --role read-only
    """
    with server.connect() as client:
        made = call(client, "POST", USERS, {"name": name, "email": email, "role": role})
    print(f"user {made['name']}: `tailrace user token {made['id']} NAME` makes a personal token", file=sys.stderr)
    print(made["id"])


@app.command()
@server_command
def role(
    user: IdArgument,
    given: Annotated[UserRole, typer.Argument(metavar="ROLE", help=f"One of {', '.join(UserRole)}.")],
    *,
    server: ServerChoice,
) -> None:
    """Give a user another role; their tokens have it from their next use on.

    Example: tailrace user role ada@example.com read-only
    """
    with server.connect() as client:
        _print([_call(client, "PUT", f"{USERS}/{quoted(_id_of(client, user))}/role", {"role": given})])


@app.command("token")
@server_command
def make_token(
    user: IdArgument,
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    *,
    server: ServerChoice,
) -> None:
    """Make a personal token for a user. Its secret goes to standard output, this once.

    Example: tailrace user token ada@example.com laptop
    """
    with server.connect() as client:
        path = f"/tailrace/v1/users/{quoted(_id_of(client, user))}/tokens"
        made = _call(client, "POST", path, {"name": name})
    print(f"personal token {made['name']} ({made['id']}): keep the secret, it is shown only now", file=sys.stderr)
    print(made["token"])


@app.command()
@server_command
def delete(
    user: IdArgument,
    yes: YesOption = False,
    *,
    server: ServerChoice,
) -> None:
    """Remove a user and their personal tokens; the API tokens that they made stay.

    Example: tailrace user delete ada@example.com --yes
    """
    confirm(yes, f"Remove the user {user} and their tokens?", f"nobody was removed: to remove the user {user}")
    with server.connect() as client:
        _call(client, "DELETE", f"{USERS}/{quoted(_id_of(client, user))}")
    print(f"removed user {user}")


def _id_of(client: httpx.Client, user: str) -> str:
    """Return the id of the user with an email; what is no email is an id."""
    if "@" not in user:
        return user
    found = [each["id"] for each in call(client, "GET", USERS) if each["email"].lower() == user.lower()]
    if not found:
        raise CommandError(f"no user has the email {user}: `tailrace user list` shows them")
    return str(found[0])


def _call(client: httpx.Client, method: str, path: str, body: object = None) -> Any:
    try:
        return call(client, method, path, body)
    except NotFoundError as error:
        raise CommandError(f"{error}: give an id or an email; `tailrace user list` shows them") from error


def _print(users: list[dict[str, Any]], form: ListFormat | None = None) -> None:
    rows = [[user["id"], user["name"], user["email"], user["role"]["id"]] for user in users]
    print_list(["ID", "NAME", "EMAIL", "ROLE"], rows, users, form)
