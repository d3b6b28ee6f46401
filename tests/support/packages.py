"""The packages of the source: which may import which, and the table of them in docs/architecture.md."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tailrace"
PAGE = ROOT / "docs" / "architecture.md"
WHOLE = "the whole package"  # a plain `import tailrace`

_SECTION = re.compile(r"(?<=^## The packages\n\n).*?(?=\n## )", re.DOTALL | re.MULTILINE)

# In the order of the pipeline: none imports one that comes later.
MAY_IMPORT: dict[str, set[str]] = {
    "events": set(),
    "native": set(),
    "config": {"events"},
    "storage": {"events"},
    "processes": set(),
    "parsing": {"events", "native"},
    "log": {"events", "storage"},
    "lake": {"events", "native", "storage", "log"},
    "fleet": {"events", "storage", "log", "lake"},
    "query": {"events", "storage", "processes", "lake"},
    "access": {"events", "storage"},
    "oidc": {"events", "access"},
    "tail": {"events", "lake", "query"},
    "ingest": {"events", "storage", "parsing", "log", "lake", "access", "query", "tail"},
    "protocols": {"events", "native", "parsing", "access"},
    "agents": {"events"},
    "monitors": {"events", "storage", "query", "access"},
    "backup": {"events", "storage", "lake", WHOLE},
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
        "agents",
        "backup",
    },
    "console": {"events", "api"},
    "server": {
        "events",
        "native",
        "config",
        "storage",
        "processes",
        "parsing",
        "log",
        "lake",
        "fleet",
        "query",
        "access",
        "oidc",
        "tail",
        "ingest",
        "monitors",
        "protocols",
        "backup",
        "api",
        "console",
        WHOLE,
    },
    "testing": {"events", "config", "processes", "access", "protocols", "server"},
    "cli": {"agents", "config", "backup", "server", "testing"},
    "__main__": {"cli"},
}


def architecture_page() -> str:
    """Return docs/architecture.md with the table of packages that MAY_IMPORT and their docstrings make."""
    return _SECTION.sub(lambda _: packages_table(), PAGE.read_text(), count=1)


def packages_table() -> str:
    """Return the table in Markdown: each package, what the first paragraph of its docstring says, what it imports."""
    rows = [
        f"| `tailrace.{package}` | {_first_paragraph(package)} | {_imports(package)} |\n"
        for package in MAY_IMPORT
        if (SOURCE / package).is_dir()
    ]
    return "| package | holds | may import |\n| --- | --- | --- |\n" + "".join(rows)


def _first_paragraph(package: str) -> str:
    docstring = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).removesuffix(".")


def _imports(package: str) -> str:
    imports = MAY_IMPORT[package] - {WHOLE}
    above = list(MAY_IMPORT)[: list(MAY_IMPORT).index(package)]
    missing = [name for name in above if name not in imports]
    if len(imports) > 7:
        return "all above" + (f" but {', '.join(missing)}" if missing else "")
    return ", ".join(name for name in above if name in imports) or "nothing"


if __name__ == "__main__":
    sys.stdout.write(architecture_page())
