"""An application of Moesif's for a test, and what became of its events, field by field."""

import itertools
from typing import TYPE_CHECKING, Any

import httpx

from support import http
from support.events import Flat, typed

if TYPE_CHECKING:
    from conftest import Server

_NUMBERS = itertools.count(1)
SYSTEM = ("_time", "_sysTime", "_rest")


class Application:
    """An application on a server: a key, its dataset, and a client that sends with it."""

    def __init__(self, server: "Server", dataset: str = "") -> None:
        self.server = server
        self.dataset = dataset or f"shop-{next(_NUMBERS)}"
        answer = server.client.post(
            "/tailrace/v1/keys", json={"protocol": "moesif", "name": "test", "dataset": self.dataset}
        )
        assert answer.status_code == 201, answer.text
        self.key: str = answer.json()["key"]

    @property
    def headers(self) -> dict[str, str]:
        """With the application id."""
        return {"X-Moesif-Application-Id": self.key}

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Send a body, or what becomes one as JSON."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {**self.headers, **more.pop("headers", {})}
        return http.post(self.server.url + path, headers=headers, **content, **more)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """Ask for a document."""
        sent = {**self.headers, **(headers or {})}
        return http.get(self.server.url + path, headers=sent)

    def stored(self, what: str = "", order: str = "_sysTime", *, times: bool = False) -> list[Flat]:
        """Return what the dataset, or one of its sisters like "users", holds: values by path."""
        dataset = f"{self.dataset}-{what}" if what else self.dataset
        return [flat_row(row, times=times) for row in self.server.sql(f'SELECT * FROM "{dataset}" ORDER BY {order}')]

    def ids(self) -> list[str]:
        """Return the transaction ids stored, in order."""
        rows = self.server.sql(f'SELECT * FROM "{self.dataset}"')
        return sorted(row["transaction_id"] for row in rows if row.get("transaction_id"))

    def count(self) -> int:
        """How many events are stored."""
        n: int = self.server.sql(f'SELECT count(*) AS n FROM "{self.dataset}"')[0]["n"]
        return n


def flat_row(row: dict[str, Any], *, times: bool = False) -> Flat:
    """Return the values of a row by path, with their types; with `_time` if asked for."""
    values = {**(row["_rest"] or {}), **{name: value for name, value in row.items() if name not in SYSTEM}}
    fields = {path: typed(value) for path, value in values.items() if value is not None}
    return {**fields, "_time": row["_time"]} if times else fields


def call(**more: Any) -> dict[str, Any]:
    """Return an API call as the SDKs log it; top-level members can be given."""
    return {
        "request": {
            "time": "2026-08-16T09:21:56.998Z",
            "uri": "https://api.example.com/items?page=2",
            "verb": "GET",
            "ip_address": "203.0.113.9",
            "headers": {"Accept": "application/json"},
        },
        "response": {
            "time": "2026-08-16T09:21:57.120Z",
            "status": 200,
            "headers": {"Content-Type": "application/json"},
            "body": {"items": [1, 2.5, "three"]},
        },
        **more,
    }
