"""No body makes any route fail: what cannot be read is the client's error, and is told as such."""

import re
from typing import TYPE_CHECKING

import pytest

from tailrace.api import ROUTES

if TYPE_CHECKING:
    from conftest import Server

PATHS = sorted({(route.method, route.path) for route in ROUTES if route.method in ("POST", "PUT", "PATCH")})
BODIES = {
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"name":' * 50_000 + b"1" + b"}" * 50_000,
    "deep member": b'{"name":"x","anything":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "not closed": b'{"name":' * 50_000,
    "not UTF-8": b'{"name":"\xff"}',
    "half a surrogate pair": b'{"name":"\\ud800","apl":"\\udfff","expression":"\\ud800"}',
    "a long number": b'{"name":' + b"9" * 5000 + b"}",
    "null": b"null",
    "nothing": b"",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_cannot_be_read_is_the_client_s_error(server: "Server", body: str) -> None:
    met = {}
    for method, path in PATHS:
        answer = server.client.request(method, re.sub(r"{[^}]*}", "none-such", path), content=BODIES[body])
        if answer.status_code >= 500:
            met[method, path] = (answer.status_code, answer.text)

    assert met == {}
