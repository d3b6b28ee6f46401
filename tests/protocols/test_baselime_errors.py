"""How Baselime's protocol puts an error: the documented body, and why in a header."""

import pytest

from tailrace.events import (
    BadRequest,
    Conflict,
    DatasetNotFound,
    DatasetUnavailable,
    DiskFull,
    Forbidden,
    MethodNotAllowed,
    Overloaded,
    QueryFailed,
    TailraceError,
    TooLarge,
    Unauthorized,
    UnsupportedEncoding,
)
from tailrace.protocols.baselime import render_error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BadRequest, 400, b"Bad Request"),
        (DatasetNotFound, 400, b"Bad Request"),
        (Conflict, 400, b"Bad Request"),
        (UnsupportedEncoding, 400, b"Bad Request"),
        (QueryFailed, 400, b"Bad Request"),
        (Unauthorized, 401, b"Unauthorised"),
        (Forbidden, 401, b"Unauthorised"),
        (MethodNotAllowed, 405, b"Method Not Allowed"),
        (TooLarge, 413, b"Request Entity Too Large"),
        (Overloaded, 429, b"Too Many Requests"),
        (TailraceError, 500, b"Internal Error"),
        (DiskFull, 503, b"Service Unavailable"),
        (DatasetUnavailable, 503, b"Service Unavailable"),
    ],
)
def test_every_error_has_a_documented_body(error: type[TailraceError], status: int, message: bytes) -> None:
    answer = render_error(error("why"))

    assert (answer.status, answer.body) == (status, b'{"message": "%s"}' % message)
    assert dict(answer.headers)[b"x-tailrace-error"] == b"why"
    assert (b"retry-after" in dict(answer.headers)) == (status in (429, 503))


def test_the_header_holds_printable_ascii_only() -> None:
    headers = dict(render_error(BadRequest("a\r\nset-cookie: x\x00 é" + "y" * 1000)).headers)

    assert headers[b"x-tailrace-error"].startswith(b"a??set-cookie: x? ?yyy")
    assert len(headers[b"x-tailrace-error"]) == 400


def test_when_to_come_back_is_said() -> None:
    assert dict(render_error(Overloaded("later", retry_after_s=7)).headers)[b"retry-after"] == b"7"
