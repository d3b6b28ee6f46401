"""Build the site of this version in site/, beside those of other versions that are there: `make site`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SITE = ROOT / "site"
_LOADS = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>|data-md-component=["']?source\b"""
)
LATEST = """<!doctype html><meta charset="utf-8"><title>Tailrace</title>
<meta http-equiv="refresh" content="0; url={version}/index.html"><a href="{version}/index.html">Tailrace {version}</a>
"""


def main() -> int:
    """Build, and list the versions that are there; the first page of all leads to the latest."""
    found = re.search(r'__version__ = "(\d+\.\d+)', (ROOT / "src" / "tailrace" / "__init__.py").read_text())
    assert found is not None
    version = found[1]
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(HERE / "mkdocs.yml"), "-d", str(SITE / version)]
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    if code := subprocess.run(command, check=False, env={**os.environ, **quiet}).returncode:
        return code
    if foreign := list(_foreign(SITE / version)):
        print(*foreign, sep="\n", file=sys.stderr)
        return 1
    there = sorted((path.parent.name for path in SITE.glob("*/index.html")), key=_number, reverse=True)
    listed = [{"version": name, "title": name, "aliases": ["latest"] if name == there[0] else []} for name in there]
    (SITE / "versions.json").write_text(json.dumps(listed) + "\n")
    (SITE / "index.html").write_text(LATEST.format(version=there[0]))
    return 0


def _foreign(site: Path) -> Iterator[str]:
    """Yield what pages would load from other hosts."""
    for page in sorted(site.rglob("*.html")):
        for tag in _LOADS.findall(page.read_text()):
            yield f"{page.relative_to(site)} loads from another host: {tag}"


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    sys.exit(main())
