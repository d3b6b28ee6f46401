"""Structs whose secrets are not shown where the struct is."""

from typing import Annotated

from msgspec import Meta

from tailrace.events.secrets import WithSecrets


class Login(WithSecrets, frozen=True):
    user: str
    password: Annotated[str, Meta(extra={"secret": "any text"})] = ""


class Connection(WithSecrets, frozen=True):
    login: Login


def test_a_secret_is_not_shown_nor_where_its_struct_is_within_another() -> None:
    assert repr(Login("ada", "hunter2")) == "Login(user='ada')"
    assert repr(Connection(Login("ada", "hunter2"))) == "Connection(login=Login(user='ada'))"
