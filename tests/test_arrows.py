"""The arrows of the architecture: which room may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tailrace"
WHOLE = "the whole package"  # a plain `import tailrace`

# docs/architecture.md shows the same table to readers.
MAY_IMPORT: dict[str, set[str]] = {
    "events": set(),
    "config": {"events"},
    "storage": {"events"},
    "intake": {"events"},
    "log": {"events", "storage"},
    "lake": {"events", "storage", "log"},
    "query": {"events", "storage", "lake"},
    "access": {"events", "storage"},
    "dialects": {"events", "intake", "access"},
    "monitors": {"events", "storage", "query", "access"},
    "api": {"events", "config", "storage", "intake", "log", "lake", "query", "access", "monitors", "dialects"},
    "server": {
        "events",
        "config",
        "storage",
        "intake",
        "log",
        "lake",
        "query",
        "access",
        "monitors",
        "dialects",
        "api",
        WHOLE,
    },
    "cli": {"config", "server"},
    "__main__": {"cli"},
}


def rooms() -> list[str]:
    """Every package and module directly in the source tree, but the package's own first file."""
    found = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return sorted(found | {path.stem for path in SOURCE.glob("*.py")} - {"__init__"})


def modules(room: str) -> list[Path]:
    """The files of a room."""
    return sorted((SOURCE / room).rglob("*.py")) or [SOURCE / f"{room}.py"]


def imported_rooms(text: str) -> Iterator[tuple[int, str]]:
    """The rooms that a module imports anywhere in it, each with its line."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from ((node.lineno, name) for name in _room(alias.name))
            case ast.ImportFrom(level=0, module=str(module)):
                if module == "tailrace":
                    yield from ((node.lineno, alias.name) for alias in node.names if alias.name != "__version__")
                else:
                    yield from ((node.lineno, name) for name in _room(module))
            case ast.ImportFrom():
                yield node.lineno, "a relative import"


def _room(module: str) -> list[str]:
    package, _, rest = module.partition(".")
    if package != "tailrace":
        return []
    return [rest.partition(".")[0] or WHOLE]


def test_every_room_is_in_the_table() -> None:
    assert set(rooms()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT.get(room, set()) | {room}
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {name}"
        for path in modules(room)
        for line, name in imported_rooms(path.read_text())
        if name not in allowed
    ]
    assert wrong == []


def test_the_table_has_no_way_back() -> None:
    done: set[str] = set()
    while ready := {room for room, imports in MAY_IMPORT.items() if room not in done and imports - {WHOLE} <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


def test_every_kind_of_import_is_seen() -> None:
    text = """
import tailrace
import tailrace.log.local as x, os
from tailrace import lake, __version__
from tailrace.query.sql import parse
from . import y
def f():
    from tailrace.api import z
"""
    found = sorted(name for _, name in imported_rooms(text))
    assert found == ["a relative import", "api", "lake", "log", "query", WHOLE]
