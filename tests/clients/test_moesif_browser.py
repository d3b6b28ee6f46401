"""Moesif's browser library, unmodified, in jsdom: what it sends from another origin comes back."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from support.moesif import Application
from support.node import needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server


pytestmark = needs_node


class Api(BaseHTTPRequestHandler):
    """What the page itself calls."""

    def do_OPTIONS(self) -> None:
        self._answer(204, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b'{"made":true}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "*, content-type")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/things?x=1"
        served.shutdown()


def test_a_page_sends_calls_actions_users_and_companies(server: "Server", api: str) -> None:
    application = Application(server)
    task = {"host": server.url.removeprefix("http://"), "key": application.key, "api": api}
    told = run_program("moesif-browser.mjs", task)
    assert set(told["answers"]) == {201}, told
    assert told["errors"] == []

    actions = [row for row in application.stored() if row["event_type"] == "action"]
    [clicked] = [row for row in actions if row["action_name"] == "Clicked"]
    assert clicked["metadata.button"] == "Buy"
    assert clicked["request.uri"].startswith("http://shop.example.com/cart")
    assert clicked["request.ip_address"] == "127.0.0.1"
    assert clicked["user_id"] == "u1"
    [call] = [row for row in application.stored() if row["event_type"] == "api_call"]
    assert call["request.uri"] == api
    assert call["request.body.a"] == ("int", 1)
    assert call["response.status"] == ("int", 201)
    assert call["response.body.made"] == ("bool", True)
    [user] = [row for row in application.stored("users") if row["_id"] == "u1"]
    assert user["metadata.email"] == "a@example.com"
    [company] = application.stored("companies")
    assert (company["company_id"], company["company_domain"], company["metadata.plan"]) == ("c1", "example.com", "free")
