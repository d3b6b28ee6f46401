"""docs/routing.md is true to the code: its tables, asked row by row."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.api import ROUTES
from tailrace.protocols.moesif import KEY_TAIL_LENGTH
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import Router
from tailrace.server.cross_origin import cross_origin

DOCUMENT = Path(__file__).parents[1] / "docs" / "routing.md"
CREDENTIALS: list[dict[bytes, bytes]] = [
    {},
    {b"x-moesif-application-id": b"any"},
    {b"x-api-key": b"any"},
    {b"authorization": b"Bearer a-key"},
    {b"authorization": b"Bearer a-token"},
    {b"authorization": b"Bearer any"},
]
OWN = [protocol for protocol in PROTOCOLS if not protocol.is_door]
KNOWN = {"a-key": "baselime", "a-token": "axiom"}


def table(first_head: str) -> list[list[str]]:
    """Return the rows of the table whose first column has that head."""
    lines = iter(DOCUMENT.read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_head} |"):
            next(lines)
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def disputed() -> Iterator[tuple[str, str, list[str]]]:
    """Yield method, path, and which protocol a request with each credential is for."""
    for said, *whose in table("under `/v1`"):
        for request in code(said):
            if " " in request:
                method, path = request.split()
                yield method, path, [re.sub(r"\[(\w+)\].*", r"\1", name).lower() for name in whose]


def test_the_table_of_protocols_names_every_mount_path_and_host() -> None:
    assert [
        (name.lower(), code(mount), code(paths), code(hosts)) for name, mount, paths, hosts in table("protocol")
    ] == [(protocol.name, [protocol.mount], list(protocol.own_paths), list(protocol.hosts)) for protocol in OWN]


@pytest.mark.parametrize(("method", "path", "whose"), list(disputed()))
def test_a_disputed_path_is_whose_the_table_says(method: str, path: str, whose: list[str]) -> None:
    router = Router(PROTOCOLS, api_paths=[route.path for route in ROUTES], protocol_of=KNOWN.get)

    names = [router.match(method, path.encode(), headers).protocol.name for headers in CREDENTIALS]

    doors = {protocol.name for protocol in PROTOCOLS if protocol.is_door}
    known = ["axiom" if name in doors and said not in doors else name for name, said in zip(names, whose, strict=True)]
    assert known == whose


@pytest.mark.parametrize("headers", [{b"authorization": b"Bearer xaat-x"}, {b"x-axiom-dataset": b"logs"}])
def test_what_looks_like_axiom_s_counts_as_an_axiom_token(headers: dict[bytes, bytes]) -> None:
    router = Router(PROTOCOLS, api_paths=[route.path for route in ROUTES], protocol_of=KNOWN.get)

    assert router.match("POST", b"/v1/logs", headers).protocol.name == "otlp"
    assert router.match("POST", b"/v1/logs", {**headers, b"authorization": b"Bearer a-key"}).protocol.name == "baselime"
    assert router.match("POST", b"/v1/events", headers).protocol.name == "baselime"


def test_the_paths_closed_to_other_origins_are_named() -> None:
    said = DOCUMENT.read_text()

    assert all(f"`{path}`" in said for path in cross_origin(PROTOCOLS).same_origin)
    assert f"end in the same {KEY_TAIL_LENGTH}" in said
