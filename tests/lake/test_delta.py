"""What reads Delta tables is known to one module."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tailrace"


def imported(path: Path) -> Iterator[str]:
    """Yield the names of the packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module.partition(".")[0]


def test_one_module_imports_deltalake() -> None:
    # Those that do not speak of it need not be parsed.
    speaking = [path for path in SOURCE.rglob("*.py") if "deltalake" in path.read_text()]
    found = [path.relative_to(SOURCE) for path in speaking if "deltalake" in imported(path)]

    assert found == [Path("lake", "delta.py")]
