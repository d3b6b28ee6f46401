"""Disks of a few megabytes, which a test may fill to the last byte."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Yield a file system of that size at the directory, which is made; the test is skipped where none can be
    mounted.
    """
    directory.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take up all the space on the disk of a directory with one file; its removal gives it back."""
    file = directory / "filling"
    with file.open("ab", buffering=0) as opened:
        for size in (1024 * 1024, 4096, 1):
            with suppress(OSError):
                while True:
                    opened.write(bytes(size))
    return file
