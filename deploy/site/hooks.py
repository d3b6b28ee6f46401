"""Hooks of MkDocs: the README is the first page, and what lies outside of docs/ is linked in the repository."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)((?:#[^)\s]*)?)(?=\))")


def on_config(config: Any) -> Any:
    """Order the pages as the README lists them; those of doors, and what it does not list, come last."""
    docs = Path(config.docs_dir)
    listed = [name for name in re.findall(r"\]\(docs/([\w-]+\.md)", README) if (docs / name).is_file()]
    others = sorted(path.name for path in docs.glob("*.md"))
    doors = sorted(path.relative_to(docs).as_posix() for path in docs.glob("doors/*.md"))
    config.nav = ["index.md", *dict.fromkeys([*listed, *others]), {"Doors": doors}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the README, whose links to pages are those of the site."""
    text = _LINK.sub(
        lambda found: found[1].removeprefix("docs/") + found[2] if found[1].startswith("docs/") else found[0], README
    )
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Link what is no page, and is there, in the repository."""
    directory = posixpath.dirname(page.file.src_uri)

    def whole(found: re.Match[str]) -> str:
        # The README stands where docs/ stands, and other pages in it.
        named = posixpath.normpath(posixpath.join("docs", directory, found[1]))
        if files.get_file_from_path(posixpath.normpath(posixpath.join(directory, found[1]))) is not None:
            return found[0]
        beside = found[1] if page.file.src_uri == "index.md" else named
        return f"{config.extra['repository']}/blob/main/{beside}{found[2]}" if (ROOT / beside).exists() else found[0]

    return _LINK.sub(whole, markdown)
