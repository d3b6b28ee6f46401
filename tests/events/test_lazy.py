"""Packages whose names are imported once they are asked for."""

import ast
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tailrace"
LAZY = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py") if "lazy_imports(" in path.read_text())


@pytest.mark.parametrize("package", LAZY)
def test_a_lazy_package_has_each_name_of_its_list_and_no_other(package: str) -> None:
    module = importlib.import_module(f"tailrace.{package}")

    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    with pytest.raises(AttributeError, match=f"module 'tailrace.{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_a_name_of_a_lazy_package_is_that_of_its_module() -> None:
    from tailrace.tail import Reader, readers

    assert Reader is readers.Reader


@pytest.mark.parametrize("package", LAZY)
def test_a_lazy_package_has_no_name_of_a_module_of_its_own(package: str) -> None:
    # The import of that module would put it in the name's place.
    tree = ast.parse((SOURCE / package / "__init__.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert names & {path.stem for path in (SOURCE / package).iterdir()} == set()
