"""Packages import only those that come before them in the pipeline."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.packages import MAY_IMPORT, PAGE, SOURCE, WHOLE, packages_table

# What queries know of the lake, so that it may be elsewhere.
SEAM = {"tailrace.lake.snapshot"}

# The parts of `query`, in order: none imports one that comes later. All others run queries, and may import these.
QUERY_MAY_IMPORT: dict[str, set[str]] = {
    "apl": set(),
    "wildcards": set(),
    "values": {"apl"},
    "settings": set(),
    "functions": {"apl", "wildcards", "values", "settings"},
    "fields": {"values"},
    "arrow_json": set(),
    "row_groups": set(),
    "dictionaries": set(),
    "sources": {"dictionaries", "fields", "values"},
    "answer_cache": {"sources"},
    "sql": {"arrow_json", "fields", "sources"},
    "compile": {"apl", "wildcards", "values", "functions", "fields", "row_groups", "sources"},
    "engines": {
        "settings",
        "answer_cache",
        "arrow_json",
        "dictionaries",
        "values",
        "functions",
        "fields",
        "row_groups",
        "sources",
        "sql",
    },
    "spread": {"settings", "values", "compile", "engines"},
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
    for line, module in imported_modules(text):
        yield line, _part(module, "tailrace") if module.partition(".")[0] == "tailrace" else module


@cache
def imported_modules(text: str) -> tuple[tuple[int, str], ...]:
    """Return the modules of the source, and the packages, that a module imports anywhere in it, each with its line."""
    return tuple(_imported_modules(text))


def _imported_modules(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                for alias in node.names:
                    if alias.name.partition(".")[0] == "tailrace":
                        yield node.lineno, alias.name
            case ast.ImportFrom(level=0, module=str(module)) if module.partition(".")[0] == "tailrace":
                for alias in node.names:
                    if _is_module(whole := f"{module}.{alias.name}"):
                        yield node.lineno, whole
                    elif alias.name != "__version__":
                        yield node.lineno, module
            case ast.ImportFrom(level=level) if level:
                yield node.lineno, "a relative import"


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _part(module: str, package: str) -> str:
    """Return the part of a package that a module is, or is in."""
    return module.removeprefix(package).removeprefix(".").partition(".")[0] or WHOLE


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


@pytest.mark.parametrize("part", QUERY_MAY_IMPORT)
def test_a_part_of_queries_imports_only_what_it_may(part: str) -> None:
    allowed = QUERY_MAY_IMPORT[part] | {part}
    files = modules(f"query/{part}")
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {module}"
        for path in files
        for line, module in imported_modules(path.read_text())
        if module.startswith("tailrace.query") and _part(module, "tailrace.query") not in allowed
    ]
    assert (wrong, all(path.is_file() for path in files)) == ([], True)


def test_a_part_of_queries_imports_only_those_above_it_in_the_table() -> None:
    above: set[str] = set()
    for part, imports in QUERY_MAY_IMPORT.items():
        assert imports <= above, part
        above.add(part)


def test_queries_know_of_the_lake_the_snapshot_alone() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {module}"
        for path in modules("query")
        for line, module in imported_modules(path.read_text())
        if module.startswith("tailrace.lake") and module not in SEAM
    ]
    assert wrong == []
    # It is data, and imports nothing of the lake itself.
    snapshot = (SOURCE / "lake" / "snapshot.py").read_text()
    assert not [module for _, module in imported_modules(snapshot) if module not in SEAM]


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = {_module_name(path): path for path in SOURCE.rglob("*.py")}
    imports = {
        name: {module for _, module in imported_modules(path.read_text()) if module in files} - {name}
        for name, path in files.items()
    }
    TopologicalSorter(imports).prepare()  # raises CycleError, with the modules of a circle


def _module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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
