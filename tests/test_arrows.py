"""Packages import only those that come before them in the pipeline."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.packages import MAY_IMPORT, PAGE, SOURCE, WHOLE, packages_table


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


def test_a_package_imports_only_those_above_it_in_the_table() -> None:
    above: set[str] = set()
    for package, imports in MAY_IMPORT.items():
        assert imports - {WHOLE} <= above, package
        above.add(package)


def test_the_page_on_the_architecture_has_the_table() -> None:
    assert packages_table() in PAGE.read_text(), "run `make docs`"


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
