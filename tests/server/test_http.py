"""Requests as bytes: what HTTP/1.1 asks of a server (RFC 9112, section 3.2, and RFC 9110, section 10.1.1)."""

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Server


def exchanged(server: "Server", sent: bytes) -> bytes:
    """Return the answer to a request that asks for the connection to be closed."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    ("hosts", "status", "said"),
    [
        (b"", 400, b"no header Host"),
        (b"Host:\r\n", 400, b"no header Host"),
        (b"Host: a\r\nHost: a\r\n", 400, b"more than one header Host"),
        (b"Host: a b\r\n", 400, b"not a host name"),
        (b"Host: a/b\r\n", 400, b"not a host name"),
        (b"Host: user@a\r\n", 400, b"not a host name"),
        (b"Host: a:b\r\n", 400, b"not a host name"),
        (b"Host: a.example:8080\r\n", 200, b"ok"),
        (b"Host: [::1]:8080\r\n", 200, b"ok"),
    ],
)
def test_a_request_has_one_host(server: "Server", hosts: bytes, status: int, said: bytes) -> None:
    answer = exchanged(server, b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert said in answer


def test_a_request_of_http_1_0_needs_no_host(server: "Server") -> None:
    assert exchanged(server, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_a_host_that_is_none_is_told_in_the_shape_of_the_protocol(server: "Server") -> None:
    answer = exchanged(server, b"POST /baselime/v1/d HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.partition(b"\r\n\r\n")[2].startswith(b'{"message":')


@pytest.mark.parametrize("path", ["/v1/datasets/demo/ingest", "/tailrace/v1/sql", "/v1/events"])
def test_a_body_that_would_be_refused_is_not_asked_for(server: "Server", path: str) -> None:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Authorization: Bearer xaat-unknown",
        "Content-Type: application/json",
        "Content-Length: 1000",
        "Expect: 100-continue",
    ]

    assert exchanged(server, "\r\n".join([*lines, "", ""]).encode()).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_is_wanted_is_asked_for(server: "Server", dataset: str) -> None:
    lines = [
        f"POST /v1/datasets/{dataset}/ingest HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/json",
        "Content-Length: 9",
        "Expect: 100-continue",
        "Connection: close",
    ]

    answer = exchanged(server, "\r\n".join([*lines, "", '[{"n":1}]']).encode())
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b'"ingested":1' in answer
