"""Moesif's WSGI middleware, unmodified, in a process of its own: the calls that it logs come back."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.moesif import Application
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server

PROGRAM = Path(__file__).parent / "moesif_wsgi_app.py"


def test_calls_of_an_application(server: "Server") -> None:
    application = Application(server)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), server.url, application.key], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: application.count() == 3)

    first, second, third = application.stored(order='"request.time"')
    assert first["request.verb"] == "GET"
    assert first["request.uri"].endswith("/hello?page=2")
    assert first["request.ip_address"] == "127.0.0.1"
    assert first["response.status"] == ("int", 200)
    assert first["user_id"] == "u1"
    assert first["direction"] == "Incoming"
    assert first["event_type"] == "api_call"
    assert second["request.verb"] == "POST"
    assert second["request.body.a"] == ("int", 1)
    assert second["response.body.received"] == ("int", 8)
    assert third["response.status"] == ("int", 404)
    assert len({first["transaction_id"], second["transaction_id"], third["transaction_id"]}) == 3
