"""docs/doors.md is true to the code: each route of its table exists, each door is in it, and so is its page."""

import re
from pathlib import Path

from tailrace.protocols.registry import PROTOCOLS

DOCS = Path(__file__).parents[1] / "docs"
DOORS = [protocol for protocol in PROTOCOLS if protocol.is_door]
PARAMETER = re.compile(r"\{[^}]*\}|\b[A-Z]{3,}\b")  # as routes have it, and as some rows do
ROUTES = {
    PARAMETER.sub("{}", route.path)
    for protocol in PROTOCOLS
    for route in protocol.routes
    if protocol.is_door or protocol.has_api
}


def rows() -> list[list[str]]:
    """Return the cells of the table's rows."""
    page = (DOCS / "doors.md").read_text()
    table = page.partition("| door | routes | page |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def paths(cell: str) -> list[str]:
    """Return the paths of a cell, without their methods; those after the first may be ends of paths, as `…/raw` is."""
    named = [text.split()[-1].lstrip("…").partition("?")[0] for text in re.findall(r"`([^`]+)`", cell) if "/" in text]
    return [PARAMETER.sub("{}", path) for path in named]


def test_every_route_of_the_table_exists() -> None:
    named = [path for _, routes, _ in rows() for path in paths(routes)]

    assert named
    assert [path for path in named if not any(route.endswith(path) for route in ROUTES)] == []


def test_every_door_is_in_the_table() -> None:
    named = {path for _, routes, _ in rows() for path in paths(routes)}

    assert [
        protocol.name
        for protocol in DOORS
        if not any(PARAMETER.sub("{}", route.path) in named for route in protocol.routes)
    ] == []


def test_every_page_of_a_door_is_linked_and_every_link_has_its_page() -> None:
    linked = set(re.findall(r"\]\((doors/[^)#]+)", (DOCS / "doors.md").read_text()))

    assert linked == {path.relative_to(DOCS).as_posix() for path in (DOCS / "doors").glob("*.md")}
