"""Whom a request is from, behind proxies: the right-most address that no trusted proxy has."""

from typing import Any

import pytest

from tailrace.events.outcome import FORWARDED_HOST
from tailrace.server.forwarded import Proxies

TRUSTED = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


def seen(peer: str, *headers: tuple[str, str], trusted: tuple[str, ...] = TRUSTED) -> tuple[str, str, str]:
    """Return the client, the scheme, and the host that it asked, none where no proxy tells."""
    scope: dict[str, Any] = {
        "client": (peer, 1234),
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    Proxies(trusted).apply(scope)
    return scope["client"][0], scope["scheme"], scope.get(FORWARDED_HOST, "")


@pytest.mark.parametrize(
    ("peer", "sent", "client"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the first was made up by the client
        ("127.0.0.1", "198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),  # a client within the trusted network
        ("127.0.0.1", "unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%<script>", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("127.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("fd00::1", "203.0.113.7, fd12::1", "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),  # nobody whom the server believes
    ],
)
def test_the_client_is_the_last_that_is_not_a_trusted_proxy(peer: str, sent: str, client: str) -> None:
    assert seen(peer, ("X-Forwarded-For", sent))[0] == client


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.1, for=10.0.0.2", "203.0.113.7"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for="203.0.113.7:80";host="a\\"b,c"', "203.0.113.7"),
        ("for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("for=unknown", "127.0.0.1"),
        ('for="198.51.100.1, for=203.0.113.7', "203.0.113.7"),  # what a client left open ends with its element
        ("by=10.0.0.1", "127.0.0.1"),
        (";;,", "127.0.0.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(sent: str, client: str) -> None:
    assert seen("127.0.0.1", ("Forwarded", sent))[0] == client


def test_headers_that_are_repeated_are_one_list() -> None:
    headers = [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "10.0.0.2")]

    assert seen("127.0.0.1", *headers)[0] == "203.0.113.7"


def test_a_forwarded_header_that_the_client_made_up_does_not_count_beside_the_proxys_own() -> None:
    # A proxy that writes X-Forwarded-For passes Forwarded on as it came.
    headers = [("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "203.0.113.7")]

    assert seen("127.0.0.1", *headers)[0] == "203.0.113.7"


def test_without_trusted_proxies_no_header_is_read() -> None:
    headers = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a.example")]

    assert seen("127.0.0.1", *headers, trusted=()) == ("127.0.0.1", "http", "")


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ({"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}, "https", ""),
        (
            {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "a:8443"},
            "https",
            "a:8443",
        ),
        ({"X-Forwarded-For": "203.0.113.7, 10.0.0.2", "X-Forwarded-Proto": "https, http"}, "https", ""),
        ({"X-Forwarded-For": "1.1.1.1, 203.0.113.7", "X-Forwarded-Proto": "ftp, https"}, "https", ""),
        ({"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "javascript"}, "http", ""),
        ({"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "a<b"}, "http", ""),
        ({"Forwarded": "for=203.0.113.7;proto=https;host=a.example"}, "https", "a.example"),
        ({"Forwarded": "for=1.1.1.1;host=evil.example, for=203.0.113.7;proto=https"}, "https", ""),
    ],
)
def test_the_scheme_and_the_host_are_those_of_the_client(headers: dict[str, str], scheme: str, host: str) -> None:
    assert seen("127.0.0.1", *headers.items())[1:] == (scheme, host)
