"""The arrows of the architecture: which package may import which."""

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
    "parsing": {"events"},
    "log": {"events", "storage"},
    "lake": {"events", "storage", "log"},
    "query": {"events", "storage", "lake"},
    "access": {"events", "storage"},
    "tail": {"events", "lake", "query"},
    "ingest": {"events", "parsing", "log", "lake", "access", "query", "tail"},
    "protocols": {"events", "parsing", "access"},
    "monitors": {"events", "storage", "query", "access"},
    "api": {
        "events",
        "config",
        "storage",
        "parsing",
        "log",
        "lake",
        "query",
        "access",
        "tail",
        "monitors",
        "protocols",
    },
    "server": {
        "events",
        "config",
        "storage",
        "parsing",
        "log",
        "lake",
        "query",
        "access",
        "tail",
        "ingest",
        "monitors",
        "protocols",
        "api",
        WHOLE,
    },
    "cli": {"config", "server"},
    "__main__": {"cli"},
}


def packages() -> list[str]:
    """Every package and module directly in the source tree, but the package's own first file."""
    found = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return sorted(found | {path.stem for path in SOURCE.glob("*.py")} - {"__init__"})


def modules(package: str) -> list[Path]:
    """Return the files of a package."""
    return sorted((SOURCE / package).rglob("*.py")) or [SOURCE / f"{package}.py"]


def imported_packages(text: str) -> Iterator[tuple[int, str]]:
    """Yield the packages that a module imports anywhere in it, each with its line."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from ((node.lineno, name) for name in _package(alias.name))
            case ast.ImportFrom(level=0, module=str(module)):
                if module == "tailrace":
                    yield from ((node.lineno, alias.name) for alias in node.names if alias.name != "__version__")
                else:
                    yield from ((node.lineno, name) for name in _package(module))
            case ast.ImportFrom():
                yield node.lineno, "a relative import"


def _package(module: str) -> list[str]:
    package, _, rest = module.partition(".")
    if package != "tailrace":
        return []
    return [rest.partition(".")[0] or WHOLE]


def test_every_package_is_in_the_table() -> None:
    assert set(packages()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("package", packages())
def test_a_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT.get(package, set()) | {package}
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {name}"
        for path in modules(package)
        for line, name in imported_packages(path.read_text())
        if name not in allowed
    ]
    assert wrong == []


def test_the_table_has_no_way_back() -> None:
    done: set[str] = set()
    while ready := {
        package for package, imports in MAY_IMPORT.items() if package not in done and imports - {WHOLE} <= done
    }:
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
    found = sorted(name for _, name in imported_packages(text))
    assert found == ["a relative import", "api", "lake", "log", "query", WHOLE]
