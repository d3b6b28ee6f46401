"""Packages whose names are imported once they are asked for, so that a short command brings no engine along."""

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_imports(package: str, file: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that takes each name from where its `if TYPE_CHECKING:` imports it.

    So the names are written once, where type checkers and readers look for them. The source of the package must be
    there, and its imports give no other names (`as`).
    """

    @functools.cache
    def modules() -> dict[str, str]:
        return {
            alias.name: node.module
            for node in _body_for_types(ast.parse(Path(file).read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    def get(name: str) -> Any:
        if name.startswith("__") or name not in modules():  # of which the first are asked for by the importing itself
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules()[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def _body_for_types(module: ast.Module) -> list[ast.stmt]:
    """Return what stands under `if TYPE_CHECKING:`."""
    for node in module.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.body
    return []
