"""What lies in a directory that a server may be writing in."""

import os
from pathlib import Path


def contents(directory: Path) -> dict[Path, bytes]:
    """Read every file within; one that is gone when its turn comes, as a temporary file may be, is left out."""
    found = {}
    # os.walk, as Path.rglob ends with an error where a directory is gone.
    for parent, _, names in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            try:
                if path.is_file():  # and no socket
                    found[path] = path.read_bytes()
            except FileNotFoundError:
                continue
    return found
